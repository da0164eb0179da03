"""Reads a run directory without changing it."""

import csv
import io
import itertools
import json
from pathlib import Path
from typing import Any

from dsrl_jax.config.presets import Experiment
from dsrl_jax.training.checkpoints.checksums import RECORD

# Steps and mean returns of evaluations, by member and seed.
Points = dict[tuple[str, int], list[tuple[int, float]]]

# The table of each kind of row; its columns are a row's keys. Only timings.csv has clock times.
FILES = {
    "evaluation": "evaluations.csv",
    "training": "training.csv",
    "topology": "topology.csv",
    "timing": "timings.csv",
}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Reads the complete rows of a CSV file; ignores a last line that is still being written.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no table, or a row does not match the header.
    """
    try:
        text = path.read_text()
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():  # a cell too many, or one missing
            raise ValueError(f"{path} is damaged: row {number} does not match the header")
    return rows


def is_finished(directory: Path, experiment: Experiment) -> bool:
    """Returns whether there is a checkpoint of the last step, which a run saves last."""
    return (checkpoints_of(directory) / str(experiment.loop.steps) / RECORD).exists()


def read_starts(directory: Path) -> list[dict[str, Any]]:
    """Reads what each part of a run was computed on, in order. Skips lines that were cut short."""
    path = directory / "starts.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(dict(json.loads(line)))
        except (TypeError, ValueError):
            continue
    return found


def checkpoints_of(directory: Path) -> Path:
    """Returns the folder of a run's checkpoints; it exists once training has begun."""
    return directory / "checkpoints"


def evaluated_step(directory: Path, seeds: tuple[int, ...]) -> int:
    """Returns the last step at which every seed was evaluated; 0 before the first evaluation.

    Raises:
      ValueError: if the table is damaged.
    """
    steps = dict.fromkeys(seeds, 0)
    for (_, seed), points in _read_points(directory / FILES["evaluation"]).items():
        steps[seed] = points[-1][0]
    return min(steps.values())


def read_evaluations(directory: Path, eval_period: int) -> Points:
    """Reads steps and mean returns of each member and seed; member is "" if rows have none.

    Raises:
      ValueError: if the table is damaged: a cell is no number, or an evaluation is missing.
    """
    path = directory / FILES["evaluation"]
    found = _read_points(path)
    for (member, seed), points in found.items():
        name, steps = name_member(member, seed), [step for step, _ in points]
        if any(later <= step for step, later in itertools.pairwise(steps)):
            raise ValueError(f"{path} is damaged: the steps of {name} do not increase")
        # More than these are allowed: a run that was extended has one where it ended before.
        if missing := set(range(0, steps[-1], eval_period)) - set(steps):
            raise ValueError(
                f"{path} is damaged: {name} has no evaluation at step {min(missing):,}"
            )
    return found


def _read_points(path: Path) -> Points:
    """Reads a table of evaluations as it is. Raises ValueError if a cell is no number."""
    found: Points = {}
    for number, row in enumerate(read_rows(path) if path.exists() else [], start=2):
        try:
            points = found.setdefault((row.get("member", ""), int(row["seed"])), [])
            points.append((int(row["env_step"]), float(row["return_mean"])))
        except KeyError as error:
            raise ValueError(f"{path} is damaged: it has no column {error}") from error
        except ValueError as error:
            raise ValueError(f"{path} is damaged: row {number}: {error}") from error
    return found


def name_member(member: str, seed: int) -> str:
    """Returns the name of a row's member for messages."""
    return f"member {member}" if member else f"seed {seed}"


def has_lost_its_checkpoints(directory: Path, seeds: tuple[int, ...], steps: int) -> bool:
    """Returns whether a run reached these steps and its folder of checkpoints is gone."""
    return not checkpoints_of(directory).exists() and evaluated_step(directory, seeds) >= steps
