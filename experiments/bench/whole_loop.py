"""Whole training runs, timed as they go."""

import time
from collections.abc import Iterator
from typing import Any

from dsrl_jax.config.presets import resolve
from dsrl_jax.training import train
from experiments.bench.measure import Side
from experiments.bench.peers_sbx import RANDOM_STEPS

NEVER = 1_000_000_000
ADAPTED = 1_001  # updates until targets have something to lose, by the paper's settings


def loop_side(env_id: str, algo: str, steps: int, settings: dict[str, Any]) -> Side:
    """A side that trains for the next `steps` steps of one run."""
    seconds = training_seconds(env_id, algo, steps, settings)
    next(seconds)  # With what comes before, and what is compiled.
    return lambda: next(seconds)


def training_seconds(
    env_id: str, algo: str, steps: int, settings: dict[str, Any], warm_up: int | None = None
) -> Iterator[float]:
    """Seconds between rows of training, every `steps` steps, of a run without evaluations.

    It has one, of one episode, at its start. The first value comes with the first row after
    `warm_up` updates, by default an adaptation's, and counts everything from the start.
    """
    warm_up = ADAPTED if warm_up is None else warm_up
    only = {
        "steps": NEVER,
        "eval_period": NEVER,
        "eval_episodes": 1,
        "log_period": steps,
        "start_steps": RANDOM_STEPS,
        "update_after": RANDOM_STEPS,
        "replay_size": 1_000_000,
    }
    experiment = resolve(env_id, algo, settings=only | settings)
    start = time.perf_counter()
    for row in train.run(experiment):
        if row["kind"] == "training" and row["updates"] >= warm_up:
            yield time.perf_counter() - start
            start = time.perf_counter()
