"""Collects finished runs as small files that can be committed: config.json and evaluations.csv.

The folder of a run is `{env}/{algo}-s{seeds}-{steps}`, with its preset and a hash of other settings
if they differ from the defaults. Readers only use config.json.
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
from experiments.paper.existing_runs import ExistingRun, collected_runs, matches
from experiments.run_dir.directory import MAY_CHANGE, as_name, differences, short_hash
from experiments.run_dir.state import FILES, name_member, read_evaluations, read_rows

# Significant digits of returns, as many as a float32 has. A run of a million steps then takes less
# than 40 kB.
DIGITS = 7
# Flags whose values are paths of the machine.
_PATH_FLAGS = ("run_dir", "initial_policy")

Files = dict[str, str]


def collect(directories: Sequence[Path], results: Path) -> list[str]:
    """Copies runs into `results`; leaves existing copies as they are.

    Writes nothing unless it can write all of them.

    Returns:
      A line for each run.
    Raises:
      ValueError: if a directory is no finished run, or if `results` has a different run with the
        same settings, seeds and length.
    """
    collected = collected_runs(results)
    planned: dict[Path, Files] = {}
    lines = []
    for directory in directories:
        files, experiment = read_small(directory)
        if copy := _find_copy(experiment, collected):
            if shorten(copy / FILES["evaluation"]) != files[FILES["evaluation"]]:
                raise ValueError(
                    f"{copy} has a run with the same settings as {directory} and other returns; "
                    "nothing is overwritten: remove one of them"
                )
            lines.append(f"{directory}: is there already, {copy}")
            continue
        place = results / folder_of(experiment)
        if _is_taken(place, files) or planned.get(place, files) != files:
            raise ValueError(
                f"{place} is taken, {directory} cannot be put there; nothing is overwritten"
            )
        planned[place] = files
        size = sum(len(text.encode()) + 1 for text in files.values())
        lines.append(f"{directory}: {place}, {size:,} bytes")
    for place, files in planned.items():
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_atomic(place / name, text)
    return lines


def _find_copy(experiment: Experiment, collected: Sequence[ExistingRun]) -> Path | None:
    """Returns the folder of a collected run with the same settings, seeds and length."""
    own = (experiment.seeds, experiment.loop.steps)
    for run in collected:
        if (run.seeds, int(run.config["steps"])) == own and matches(run, experiment):
            return run.directory
    return None


def _is_taken(place: Path, files: Files) -> bool:
    """Returns whether a folder has more than a part of `files`, as a killed `collect` leaves."""
    for path in place.iterdir() if place.exists() else ():
        name = path.name.removesuffix(UNFINISHED)
        if name not in files or (name == path.name and path.read_text() != files[name] + "\n"):
            return True
    return False


def read_small(directory: Path) -> tuple[Files, Experiment]:
    """Returns the small files of a finished run, and its experiment.

    Raises:
      ValueError: if it is no run, a batch of a sweep, not finished, or damaged.
    """
    if not (directory / "config.json").exists() and list(directory.glob("*/config.json")):
        raise ValueError(f"{directory} is a folder of run directories: name them, {directory}/*")
    experiment, config = read_experiment(directory)
    if experiment.varied or experiment.freeze_nonfinite:
        raise ValueError(
            f"{directory} is a batch of a sweep; only runs with one setting can be collected, as "
            "experiments.run and experiments.paper make them"
        )
    evaluations = shorten(directory / FILES["evaluation"])
    by_member = read_evaluations(directory, experiment.loop.eval_period)
    for (member, seed), points in by_member.items():
        if not all(math.isfinite(value) for _, value in points):
            who = name_member(member, seed)
            raise ValueError(f"{directory} is damaged: a return of {who} is not finite")
    steps = experiment.loop.steps
    reached = min(by_member.get(("", seed), [(0, 0.0)])[-1][0] for seed in experiment.seeds)
    if reached < steps:
        raise ValueError(
            f"{directory} is not finished: it has evaluations up to step {reached:,} of {steps:,}; "
            "continue it with the command that began it"
        )
    # In this order: a kill in between leaves a folder without config.json, which is no run.
    files = {
        FILES["evaluation"]: evaluations,
        "config.json": json.dumps(without_paths(config), indent=1),
    }
    return files, experiment


def without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config.json whose command line has only the last names of paths."""
    words = shlex.split(config.get("command", ""))
    kept = []
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, value = word.partition("=")
        path = value if equals else word
        is_path = (flag if equals else before).lstrip("-") in _PATH_FLAGS or path.startswith("/")
        kept.append(word.removesuffix(path) + Path(path).name if is_path else word)
    return config | ({"command": shlex.join(kept)} if words else {})


def shorten(path: Path) -> str:
    """Returns a table of evaluations with returns of `DIGITS` significant digits.

    Raises:
      ValueError: if the table is damaged or has no row.
    """
    if not path.exists() or not (rows := read_rows(path)):
        raise ValueError(f"{path} has no evaluation")
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    try:
        for row in rows:
            returns = {name: row[name] for name in row if name.startswith("return_")}
            short = {name: f"{float(cell):.{DIGITS}g}" for name, cell in returns.items()}
            writer.writerow(row | short)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return text.getvalue().rstrip("\n")


def folder_of(experiment: Experiment) -> Path:
    """Returns the folder of a collected run, relative to the folder of results."""
    named = ("env", "algo", "preset", "seeds", *MAY_CHANGE)
    plain = resolve(experiment.env, experiment.algo, preset=experiment.preset)
    changed = differences(experiment, plain, besides=named)
    task = task_of(experiment.env)
    # Other versions of the task, and tasks of other packages, differ like other settings do.
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
