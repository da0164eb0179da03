"""Finished runs as small files that can be committed: config.json and evaluations.csv of each.

The folder is `{env}/{algo}-s{seeds}`, with what else names a run: its preset, a hash of other
settings, and its length. Readers go by config.json alone.
"""

import csv
import io
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.config.tasks import task_of
from dsrl_jax.config.to_json import read_experiment
from dsrl_jax.training.checkpoints.checksums import UNFINISHED, write_atomic
from experiments.paper.found import Found, find_collected, is_of
from experiments.run_dir.directory import MAY_CHANGE, as_name, differences, short_hash
from experiments.run_dir.state import (
    FILES,
    name_member,
    read_evaluations,
    read_rows,
)

# Significant digits of returns, those of a float32: a run of a million steps takes under 40 kB.
DIGITS = 7
# Their values are places of this machine.
_PLACES = ("run_dir", "initial_policy")

Files = dict[str, str]


def collect(directories: Sequence[Path], results: Path) -> list[str]:
    """Copies runs into `results`; what is there already is left as it is.

    Nothing is written unless all of them can be.

    Returns:
      A line for each run.
    Raises:
      ValueError: if one is no run, is not finished, or if another one of its settings, seeds and
        length is there.
    """
    there = find_collected(results)
    planned: dict[Path, Files] = {}
    told = []
    for directory in directories:
        files, experiment = read_small(directory)
        if same := _find_same(experiment, there):
            if shorten(same / FILES["evaluation"]) != files[FILES["evaluation"]]:
                raise ValueError(
                    f"{same} holds a run of the same settings as {directory} with other returns; "
                    "nothing is overwritten: remove one of them"
                )
            told.append(f"{directory}: is there already, {same}")
            continue
        place = results / folder_of(experiment)
        if _is_taken(place, files) or planned.get(place, files) != files:
            raise ValueError(
                f"{place} is taken, {directory} cannot be put there; nothing is overwritten"
            )
        planned[place] = files
        size = sum(len(text.encode()) + 1 for text in files.values())
        told.append(f"{directory}: {place}, {size:,} bytes")
    for place, files in planned.items():
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_atomic(place / name, text)
    return told


def _is_taken(place: Path, files: Files) -> bool:
    """Whether a folder holds anything but a part of these files, which a kill may have left."""
    for path in place.iterdir() if place.exists() else ():
        name = path.name.removesuffix(UNFINISHED)
        if name not in files or (name == path.name and path.read_text() != files[name] + "\n"):
            return True
    return False


def _find_same(experiment: Experiment, there: Sequence[Found]) -> Path | None:
    """The folder that holds a run of the same settings, seeds and length."""
    own = (experiment.seeds, experiment.loop.steps)
    for run in there:
        if (run.seeds, int(run.config["steps"])) == own and is_of(run, experiment):
            return run.directory
    return None


def read_small(directory: Path) -> tuple[Files, Experiment]:
    """The small files of a finished run, and what it is.

    Raises:
      ValueError: if it is no run, not finished, damaged, or a batch of a sweep.
    """
    if not (directory / "config.json").exists() and list(directory.glob("*/config.json")):
        raise ValueError(f"{directory} is a folder of run directories: name them, {directory}/*")
    experiment, config = read_experiment(directory)
    if experiment.varied or experiment.freeze_nonfinite:
        raise ValueError(
            f"{directory} is a batch of a sweep; runs of one setting are collected: "
            "those of experiments.run and experiments.paper"
        )
    evaluations = shorten(directory / FILES["evaluation"])
    found, steps = read_evaluations(directory, experiment.loop.eval_period), experiment.loop.steps
    for (member, seed), points in found.items():
        if not all(math.isfinite(value) for _, value in points):
            who = name_member(member, seed)
            raise ValueError(f"{directory} is damaged: a return of {who} is not finite")
    reached = min(found.get(("", seed), [(0, 0.0)])[-1][0] for seed in experiment.seeds)
    if reached < steps:
        raise ValueError(
            f"{directory} is not finished: it has evaluations up to step {reached:,} of {steps:,}; "
            "the command that began it continues it"
        )
    # In this order: a folder that a kill leaves without its config.json is no run.
    files = {
        FILES["evaluation"]: evaluations,
        "config.json": json.dumps(without_places(config), indent=1),
    }
    return files, experiment


def without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json whose command line names no place of the machine that it was given on."""
    words = shlex.split(config.get("command", ""))
    kept = [_without_place(word, before) for before, word in zip(["", *words], words, strict=False)]
    return config | ({"command": shlex.join(kept)} if words else {})


def _without_place(word: str, before: str) -> str:
    """A word of a command line, with the last name alone of a path in it."""
    flag, equals, value = word.partition("=")
    path = value if equals else word
    is_place = (flag if equals else before).lstrip("-") in _PLACES
    if is_place or path.startswith("/"):
        return word.removesuffix(path) + Path(path).name
    return word


def shorten(path: Path) -> str:
    """A table of evaluations with returns of `DIGITS` significant digits.

    Raises:
      ValueError: if it is damaged, or has no row.
    """
    if not path.exists() or not (rows := read_rows(path)):
        raise ValueError(f"{path} has no evaluation")
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    try:
        writer.writerows({name: _shorten(name, row[name]) for name in row} for row in rows)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return text.getvalue().rstrip("\n")


def _shorten(name: str, cell: str) -> str:
    return f"{float(cell):.{DIGITS}g}" if name.startswith("return_") else cell


def folder_of(experiment: Experiment) -> Path:
    """Where a run is collected, below the results' folder."""
    named = ("env", "algo", "preset", "seeds", *MAY_CHANGE)
    plain = resolve(experiment.env, experiment.algo, preset=experiment.preset)
    changed = differences(experiment, plain, besides=named)
    task = task_of(experiment.env)
    # Another version or package of the task is a setting like others.
    if experiment.env != f"{task}-v5":
        changed["env"] = experiment.env
    parts = [
        experiment.algo,
        *([] if experiment.preset == "paper" else [experiment.preset]),
        "s" + "_".join(map(str, experiment.seeds)),
        *([short_hash(changed)] if changed else []),
        str(experiment.loop.steps),
    ]
    return Path(as_name(task)) / "-".join(parts)
