"""The rows that a loop yields: plain numbers, units in their names, one row for each member."""

from typing import Any

import gymnasium
import jax
import numpy as np

from dsrl_jax.training.config import LoopConfig
from dsrl_jax.training.evaluation import evaluate
from dsrl_jax.training.program import Carry, Program
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.replay import Replay

Row = dict[str, Any]


def evaluation_rows(
    program: Program,
    carry: Carry,
    progress: Progress,
    updates: int,
    environments: list[list[gymnasium.Env]],
    replay: Replay,
) -> list[Row]:
    """Plays the evaluation's episodes, without noise."""

    def policy(observations: np.ndarray) -> np.ndarray:
        return np.asarray(program.act(carry.state, observations))

    returns, lengths = evaluate(policy, environments, replay.seeds)
    return [
        {
            "kind": "evaluation",
            "seed": seed,
            "env_step": progress.env_step,
            "updates": updates,
            "return_mean": float(returns[member].mean()),
            "return_std": float(returns[member].std()),
            "returns": returns[member].tolist(),
            "lengths": lengths[member].tolist(),
        }
        for member, seed in enumerate(replay.seeds)
    ]


def training_rows(
    program: Program, carry: Carry, progress: Progress, loop: LoopConfig, seeds: tuple[int, ...]
) -> list[Row]:
    """Means since the last rows; NaN before the first update."""
    updates = loop.updates_at(progress.env_step) - loop.updates_at(progress.logged)
    sums = jax.device_get(carry.sums)
    connections = jax.device_get(program.connections(carry.state))
    return [
        {
            "kind": "training",
            "seed": seed,
            "env_step": progress.env_step,
            "updates": loop.updates_at(progress.env_step),
            "episodes": int(progress.episode[member]),
            "episode_return": float(progress.last_return[member]),
            **{
                name: float(total[member]) / updates if updates > 0 else float("nan")
                for name, total in sums.items()
            },
            **{f"{name}_connections": int(n[member]) for name, n in connections.items()},
        }
        for member, seed in enumerate(seeds)
    ]


def topology_rows(
    program: Program,
    carry: Carry,
    progress: Progress,
    updates: int,
    replay: Replay,
    batch_size: int,
    first: Any,
    earlier: Any,
) -> list[Row]:
    """One row for each member, network and layer.

    Args:
      first, earlier: the masks of the first state, and of the one that churn is counted from.
    """
    seen = len(replay) > 0  # Without a batch nothing is known of the units' activations.
    width = 2 * replay.observation_size + replay.action_size + 2
    packed = (
        replay.sample(batch_size, progress.env_step)
        if seen
        else np.zeros((len(replay.seeds), batch_size, width), np.float32)
    )
    found = jax.device_get(program.inspect(carry.state, first, earlier, packed))
    return [
        {
            "kind": "topology",
            "seed": seed,
            "env_step": progress.env_step,
            "updates": updates,
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
