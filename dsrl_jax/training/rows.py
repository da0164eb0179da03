"""The rows that a loop yields: plain numbers, units in their names, one row for each member."""

from typing import Any

import jax
import numpy as np

from dsrl_jax.training.evaluation import evaluate
from dsrl_jax.training.finite import check_returns
from dsrl_jax.training.program import Carry
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.setup import Setup

Row = dict[str, Any]


def evaluation_rows(setup: Setup, carry: Carry, progress: Progress) -> list[Row]:
    """Plays the evaluation's episodes, without noise. Raises NotFiniteError."""

    def policy(observations: np.ndarray) -> np.ndarray:
        return np.asarray(setup.program.act(carry.state, observations))

    seeds = setup.replay.seeds
    returns, lengths = evaluate(policy, setup.evaluation_environments, seeds)
    check_returns(returns, progress, seeds)
    return [
        {
            "kind": "evaluation",
            **_position(setup, progress, seed),
            "return_mean": float(returns[member].mean()),
            "return_std": float(returns[member].std()),
            "returns": returns[member].tolist(),
            "lengths": lengths[member].tolist(),
        }
        for member, seed in enumerate(seeds)
    ]


def training_rows(setup: Setup, carry: Carry, progress: Progress) -> list[Row]:
    """Means since the last rows; NaN before the first update."""
    loop = setup.loop
    updates = loop.updates_at(progress.env_step) - loop.updates_at(progress.logged)
    sums = jax.device_get(carry.sums)
    connections = jax.device_get(setup.program.connections(carry.state))
    return [
        {
            "kind": "training",
            **_position(setup, progress, seed),
            "episodes": int(progress.episode[member]),
            "episode_return": float(progress.last_return[member]),
            **{
                name: float(total[member]) / updates if updates > 0 else float("nan")
                for name, total in sums.items()
            },
            **{f"{name}_connections": int(n[member]) for name, n in connections.items()},
        }
        for member, seed in enumerate(setup.replay.seeds)
    ]


def topology_rows(
    setup: Setup, carry: Carry, progress: Progress, first: Any, earlier: Any
) -> list[Row]:
    """One row for each member, network and layer.

    Args:
      first, earlier: the masks of the first state, and of the one that churn is counted from.
    """
    replay = setup.replay
    seen = len(replay) > 0  # Without a batch nothing is known of the units' activations.
    packed = (
        replay.sample(setup.batch_size, progress.env_step)
        if seen
        else replay.empty_batch(setup.batch_size)
    )
    found = jax.device_get(setup.program.inspect(carry.state, first, earlier, packed))
    return [
        {
            "kind": "topology",
            **_position(setup, progress, seed),
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
        for member, seed in enumerate(replay.seeds)
        for network, layers in found.items()
        for name, layer in layers.items()
    ]


def _position(setup: Setup, progress: Progress, seed: int) -> Row:
    updates = setup.loop.updates_at(progress.env_step)
    return {"seed": seed, "env_step": progress.env_step, "updates": updates}
