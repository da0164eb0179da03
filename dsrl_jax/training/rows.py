"""The rows that a run yields: plain numbers, units in the names, one row for each member."""

import math
from typing import Any, NamedTuple

import numpy as np

from dsrl_jax.config.presets import Experiment
from dsrl_jax.training.progress import Progress

Row = dict[str, Any]


class RowContext(NamedTuple):
    """Columns shared by all rows of a step.

    numbered: whether rows have the member's number, because its seed does not identify it
    frozen: the step at which each member was frozen, -1 for none; None if members do not freeze
    """

    seeds: tuple[int, ...]
    env_step: int
    updates: int
    numbered: bool = False
    frozen: np.ndarray | None = None

    def position(self, member: int) -> Row:
        """Returns the first columns of a member's row."""
        number = {"member": member} if self.numbered else {}
        step = {"env_step": self.env_step, "updates": self.updates}
        row = {**number, "seed": self.seeds[member], **step}
        if self.frozen is None:
            return row
        return {**row, "frozen_at": None if self.trains(member) else int(self.frozen[member])}

    def trains(self, member: int) -> bool:
        """Returns whether a member is not frozen; a frozen one has NaN for its numbers."""
        return self.frozen is None or bool(self.frozen[member] < 0)


def row_context(experiment: Experiment, progress: Progress) -> RowContext:
    """Returns the context of the rows of the step that a run has reached."""
    return RowContext(
        experiment.seeds,
        progress.env_step,
        experiment.updates_at(progress.env_step),
        experiment.is_numbered,
        progress.frozen if experiment.freeze_nonfinite else None,
    )


def note_row(env_step: int, text: str) -> Row:
    """Returns a row of `kind` "note", which a command shows to the user."""
    return {"kind": "note", "env_step": env_step, "text": text}


def frozen_rows(seeds: tuple[int, ...], progress: Progress, before: np.ndarray) -> list[Row]:
    """Returns a note for each member that was frozen since `frozen` was `before`."""
    return [
        note_row(
            progress.env_step,
            f"member {member}, seed {seeds[member]}, is frozen since step "
            f"{progress.frozen[member]:,}: its numbers are not finite",
        )
        for member in np.flatnonzero(~progress.trains & (before < 0)).tolist()
    ]


def evaluation_rows(context: RowContext, returns: np.ndarray, lengths: np.ndarray) -> list[Row]:
    """Returns one row for each member, from returns and lengths [members, episodes]."""
    trains = np.array([context.trains(member) for member in range(len(context.seeds))])
    returns = np.where(trains[:, None], returns, np.nan)
    return [
        {
            "kind": "evaluation",
            **context.position(member),
            "return_mean": float(returns[member].mean()),
            "return_std": float(returns[member].std()),
            "returns": returns[member].tolist(),
            "lengths": lengths[member].tolist(),
        }
        for member in range(len(context.seeds))
    ]


def training_rows(
    context: RowContext,
    *,
    updates: int,
    sums: dict[str, np.ndarray],
    connections: dict[str, np.ndarray],
    episodes: np.ndarray,
    last_return: np.ndarray,
) -> list[Row]:
    """Returns one row for each member; all arrays are [members].

    Args:
      updates: the number that the sums are over; without any, means are NaN.
      connections: by network.
      episodes: finished ones.
      last_return: of the last finished episode.
    """
    return [
        {
            "kind": "training",
            **context.position(member),
            "episodes": int(episodes[member]),
            "episode_return": float(last_return[member]) if context.trains(member) else math.nan,
            **{
                name: float(total[member]) / updates
                if updates > 0 and context.trains(member)
                else math.nan
                for name, total in sums.items()
            },
            **{f"{name}_connections": int(n[member]) for name, n in connections.items()},
        }
        for member in range(len(context.seeds))
    ]


def topology_rows(context: RowContext, layers: Any, *, has_batch: bool) -> list[Row]:
    """Returns one row for each member, network and layer.

    Args:
      layers: what `Program.inspect` returns.
      has_batch: whether it had a batch; without one the units' activations are unknown.
    """
    return [
        {
            "kind": "topology",
            **context.position(member),
            "network": network,
            "layer": name,
            "connections": int(layer.connections[member]),
            "churn": float(layer.churn[member]),
            "overlap": float(layer.overlap[member]),
            "units": int(layer.units[member]),
            "units_without_input": int(layer.units_without_input[member]),
            "units_inactive": int(layer.units_inactive[member]) if has_batch else None,
            "dormant_units": int(layer.dormant_units[member]) if has_batch else None,
            "input_degrees": layer.input_degrees[member].tolist() if name == "hidden_0" else [],
        }
        for member in range(len(context.seeds))
        for network, layers_of_network in layers.items()
        for name, layer in layers_of_network.items()
    ]
