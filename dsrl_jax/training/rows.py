"""The rows that a loop yields: plain numbers, units in their names, one row for each member."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from dsrl_jax.training.finite import check_returns
from dsrl_jax.training.host.evaluation import evaluate
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.setup import Setup
from dsrl_jax.training.update import Carry

Row = dict[str, Any]


class RowContext(NamedTuple):
    """When rows are told, and of whom.

    numbered: whether a member's number is told, as its seed does not say which it is
    frozen: the step at which each was frozen, -1 if it was not; None where that ends a run
    """

    seeds: tuple[int, ...]
    env_step: int
    updates: int
    numbered: bool = False
    frozen: np.ndarray | None = None

    def position(self, member: int) -> Row:
        """The first columns of a member's row."""
        number = {"member": member} if self.numbered else {}
        where = {"env_step": self.env_step, "updates": self.updates}
        return {**number, "seed": self.seeds[member], **where, **self._told_of_freezing(member)}

    def trains(self, member: int) -> bool:
        """Whether it has numbers to tell."""
        return self.frozen is None or self.frozen[member] < 0

    def _told_of_freezing(self, member: int) -> Row:
        if self.frozen is None:
            return {}
        return {"frozen_at": None if self.trains(member) else int(self.frozen[member])}


def evaluation_rows(setup: Setup, carry: Carry, progress: Progress) -> list[Row]:
    """Plays the evaluation's episodes, without noise. Raises NotFiniteError."""

    def policy(observations: np.ndarray) -> np.ndarray:
        return np.asarray(setup.program.act(carry.state, observations))

    seeds = setup.replay.seeds
    returns, lengths = evaluate(
        policy, setup.evaluation_environments, seeds, playing=progress.trains
    )
    if setup.freeze_nonfinite:
        progress.freeze(~np.isfinite(returns).all(axis=1), progress.env_step)
    else:
        check_returns(returns, progress, seeds)
    return tell_evaluation(_moment(setup, progress), returns, lengths)


def training_rows(setup: Setup, carry: Carry, progress: Progress) -> list[Row]:
    """Means since the last rows; NaN before the first update."""
    moment = _moment(setup, progress)
    return tell_training(
        moment,
        updates=moment.updates - setup.loop.updates_at(progress.logged),
        sums=jax.device_get(carry.sums),
        connections=jax.device_get(setup.program.connections(carry.state)),
        episodes=progress.episode,
        last_return=progress.last_return,
    )


def topology_rows(
    setup: Setup, carry: Carry, progress: Progress, first: Any, earlier: Any
) -> list[Row]:
    """One row for each member, network and layer.

    Args:
      first, earlier: the masks of the first state, and of the one that churn is counted from.
    """
    replay = setup.replay
    seen = len(replay) > 0
    packed = (
        replay.sample(setup.batch_size, progress.env_step)
        if seen
        else replay.empty_batch(setup.batch_size)
    )
    found = jax.device_get(setup.program.inspect(carry.state, first, earlier, packed))
    return tell_topology(_moment(setup, progress), found, seen)


def tell_evaluation(moment: RowContext, returns: np.ndarray, lengths: np.ndarray) -> list[Row]:
    """One row for each member, of returns and lengths [members, episodes]; NaN of a frozen one."""
    trains = np.array([moment.trains(member) for member in range(len(moment.seeds))])
    returns = np.where(trains[:, None], returns, np.nan)
    return [
        {
            "kind": "evaluation",
            **moment.position(member),
            "return_mean": float(returns[member].mean()),
            "return_std": float(returns[member].std()),
            "returns": returns[member].tolist(),
            "lengths": lengths[member].tolist(),
        }
        for member in range(len(moment.seeds))
    ]


def tell_training(
    moment: RowContext,
    *,
    updates: int,
    sums: dict[str, np.ndarray],
    connections: dict[str, np.ndarray],
    episodes: np.ndarray,
    last_return: np.ndarray,
) -> list[Row]:
    """One row for each member; all arrays are [members]. NaN for returns and means of a frozen one.

    Args:
      updates: how many the sums are over.
      connections: by network.
      episodes: finished ones.
      last_return: of the last finished episode.
    """
    return [
        {
            "kind": "training",
            **moment.position(member),
            "episodes": int(episodes[member]),
            "episode_return": float(last_return[member]) if moment.trains(member) else math.nan,
            **{
                name: float(total[member]) / updates
                if updates > 0 and moment.trains(member)
                else math.nan
                for name, total in sums.items()
            },
            **{f"{name}_connections": int(n[member]) for name, n in connections.items()},
        }
        for member in range(len(moment.seeds))
    ]


def tell_topology(moment: RowContext, found: Any, seen: bool) -> list[Row]:
    """One row for each member, network and layer.

    Args:
      found: what `Program.inspect` found.
      seen: whether there was a batch; without one nothing is known of the units' activations.
    """
    return [
        {
            "kind": "topology",
            **moment.position(member),
            "network": network,
            "layer": name,
            "connections": int(layer.connections[member]),
            "churn": float(layer.churn[member]),
            "overlap": float(layer.overlap[member]),
            "units": int(layer.units[member]),
            "units_without_input": int(layer.units_without_input[member]),
            "units_inactive": int(layer.units_inactive[member]) if seen else None,
            "dormant_units": int(layer.dormant_units[member]) if seen else None,
            "input_degrees": layer.input_degrees[member].tolist() if name == "hidden_0" else [],
        }
        for member in range(len(moment.seeds))
        for network, layers in found.items()
        for name, layer in layers.items()
    ]


def _moment(setup: Setup, progress: Progress) -> RowContext:
    updates = setup.loop.updates_at(progress.env_step)
    frozen = progress.frozen if setup.freeze_nonfinite else None
    return RowContext(setup.replay.seeds, progress.env_step, updates, setup.numbered, frozen)
