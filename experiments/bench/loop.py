"""What a training step costs beside its update: the call, the environment, the whole loop."""

from typing import Any

import numpy as np

from dsrl_jax.config.presets import resolve
from dsrl_jax.envs import catalog
from experiments.bench.measure import (
    Report,
    Side,
    in_turn,
    median,
    medians,
    rates,
    ratio,
    spread,
    table,
    timed,
)
from experiments.bench.trainee import Trainee
from experiments.bench.whole_loop import loop_side

# What is measured of each algorithm; the environment's step belongs to all.
PARTS = ("scan", "call", "loop")
UNITS = {
    "scan": "scan_updates_per_second",
    "call": "calls_per_second",
    "loop": "loop_steps_per_second",
}


def run(
    repetitions: int, steps: int, env: str, algos: tuple[str, ...], hidden_sizes: tuple[int, ...]
) -> Report:
    """Measures every part of every algorithm in turn; one step is one update."""
    env, settings = catalog.resolve_id(env), {"hidden_sizes": hidden_sizes}
    sides: dict[tuple[str, str], Side] = {("", "environment"): environment_side(env, steps)}
    for algo in algos:
        trainee = Trainee(resolve(env, algo, settings=settings))
        sides[algo, "scan"] = trainee.scan_side(steps)
        sides[algo, "call"] = trainee.call_side(steps)
        sides[algo, "loop"] = loop_side(env, algo, steps, settings)
    seconds = in_turn(sides, repetitions)

    environment = rates(seconds["", "environment"], steps)
    results: dict[str, float] = {}
    samples = {"environment_steps_per_second": environment}
    rows = [["", "environment alone", *spread(environment), "", ""]]
    for algo in algos:
        found = {part: rates(seconds[algo, part], steps) for part in PARTS}
        samples |= {f"{algo}_{UNITS[part]}": values for part, values in found.items()}
        of_scan = ratio(found["call"], found["scan"])
        of_parts = median(found["loop"]) * (1 / median(found["scan"]) + 1 / median(environment))
        results |= {f"{algo}_call_over_scan": of_scan, f"{algo}_loop_over_parts": of_parts}
        rows += [
            [algo, "update in a scan", *spread(found["scan"]), "1", ""],
            [algo, "one call a step, replay", *spread(found["call"]), f"{of_scan:.2f}", ""],
            [
                algo,
                "whole loop",
                *spread(found["loop"]),
                f"{ratio(found['loop'], found['scan']):.2f}",
                f"{of_parts:.2f}",
            ],
        ]
    head = ["method", "part", "steps/s", "lowest", "highest", "of scan", "of scan + environment"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def environment_side(env_id: str, steps: int) -> Side:
    """A side that takes random actions; drawing them is not counted."""
    environment = catalog.make(env_id)
    space: Any = environment.action_space
    actions = np.random.default_rng(0).uniform(space.low, space.high, (steps, *space.shape))
    actions = actions.astype(np.float32)
    environment.reset(seed=0)

    def run() -> None:
        for action in actions:
            *_, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()

    run()
    return timed(run)
