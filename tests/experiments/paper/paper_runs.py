"""Writes run directories as the paper's command reads them, without training."""

import csv
import json

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe

PERIOD = 5_000


def make_experiment(algo="ds_td3", seeds=(0,), steps=300_000, env="HalfCheetah-v5", **settings):
    return resolve(env, algo, seeds=seeds, settings={"steps": steps, **settings})


def make_run(directory, experiment, reached=None, *, saved=True, **config):
    """Writes a run with evaluations every 5,000 steps and, if `saved`, a checkpoint of the last."""
    reached = experiment.loop.steps if reached is None else reached
    directory.mkdir(parents=True)
    written = {"format": FORMAT, **describe(experiment), "commit": "abc"} | config
    (directory / "config.json").write_text(json.dumps(written, indent=1) + "\n")
    rows = [
        evaluation(seed, step)
        for step in range(0, reached + 1, PERIOD)
        for seed in written["seeds"]
    ]
    with (directory / "evaluations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if saved:
        record = directory / "checkpoints" / str(reached) / "record.json"
        record.parent.mkdir(parents=True)
        record.write_text("{}")
    return directory


def evaluation(seed, step):
    """Returns a row of the greatest width: HalfCheetah's returns with seventeen digits."""
    returns = [-10_000 - step / 3 - seed / 7 - episode / 9 for episode in range(10)]
    return {
        "seed": seed,
        "env_step": step,
        "updates": max(step - 25_000, 0),
        "return_mean": sum(returns) / 10 if step > 50_000 else -sum(returns) / 10,
        "return_std": 4567.89012345678901,
        **{f"return_{episode}": abs(value) for episode, value in enumerate(returns)},
        **{f"length_{episode}": 1000 for episode in range(10)},
    }


def write_timings(directory, rows, starts=(0,)):
    lines = [f"{step},{seconds},0,0" for step, seconds in rows]
    text = "\n".join(["env_step,seconds,evaluation_seconds,checkpoint_seconds", *lines]) + "\n"
    (directory / "timings.csv").write_text(text)
    lines = "".join(json.dumps({"env_step": step}) + "\n" for step in starts)
    (directory / "starts.jsonl").write_text(lines)
