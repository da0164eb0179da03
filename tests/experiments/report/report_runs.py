"""Writes the smallest run directories that a report can read."""

import csv
import json

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe

SIZES = {"HalfCheetah-v5": (17, 6), "Hopper-v5": (11, 3), "Ant-v5": (105, 8)}


def write_run(directory, returns, *, env="HalfCheetah-v5", algo="ds_td3", seeds=(0,), **given):
    """Writes a run with an evaluation every `eval_period` steps; `returns` has a list per seed.

    The run is finished unless `steps` is given.
    """
    preset, backend = given.pop("preset", "paper"), given.pop("backend", "gymnasium")
    settings = {"eval_period": 5_000, "steps": 5_000 * (len(returns[0]) - 1)} | given
    experiment = resolve(env, algo, preset=preset, backend=backend, seeds=seeds, settings=settings)
    observation_size, action_size = SIZES[env]
    config = {
        "format": FORMAT,
        **describe(experiment),
        "observation_size": observation_size,
        "action_low": [-1.0] * action_size,
        "action_high": [1.0] * action_size,
        "commit": "abc",
        "versions": {"jax": "0.0"},
    }
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    rows = [
        {"seed": seed, "env_step": place * settings["eval_period"], "return_mean": value}
        for place in range(len(returns[0]))
        for seed, value in zip(seeds, [each[place] for each in returns], strict=True)
    ]
    write_rows(directory / "evaluations.csv", rows)
    return directory


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tables(directory, steps=(0, 5_000), seed=0):
    """Writes topology.csv and timings.csv of one seed."""
    layer = {"units": 4, "units_without_input": 0, "units_inactive": 1, "dormant_units": 1}
    write_rows(
        directory / "topology.csv",
        [
            {"seed": seed, "env_step": step, "network": network, "layer": "hidden_0"}
            | {"connections": 10, "churn": 0.1 * place, "overlap": 1 - 0.1 * place}
            | layer
            | {"input_degrees": f"{5 + place} {5 - place} 0"}
            for place, step in enumerate(steps)
            for network in ("actor", "critic_1", "critic_2")
        ],
    )
    write_rows(
        directory / "timings.csv",
        [
            {"env_step": step, "seconds": 10.0 * (place + 1)}
            | {"evaluation_seconds": 1.0, "checkpoint_seconds": 0.5}
            for place, step in enumerate(steps)
        ],
    )
