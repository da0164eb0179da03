"""What a run directory holds, read and left as it is."""

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

# Columns of each file; a row has its keys. Clock times are in timings.csv alone.
FILES = {
    "evaluation": "evaluations.csv",
    "training": "training.csv",
    "topology": "topology.csv",
    "timing": "timings.csv",
}


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a CSV file of a run directory; of one that is being written nothing.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no table: a row has not the header's cells.
    """
    try:
        text = path.read_text()
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():  # A cell too many, or one that is missing.
            raise ValueError(f"{path} is damaged: row {number} has not the header's cells")
    return rows


def is_finished(directory: Path, experiment: Experiment) -> bool:
    """Whether there is a checkpoint of the last step, which is the last thing that a run saves."""
    return (checkpoints_of(directory) / str(experiment.loop.steps) / RECORD).exists()


def read_starts(directory: Path) -> list[dict[str, Any]]:
    """On what each part of a run was computed, in order. A line that was cut short is left out."""
    path = directory / "starts.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(dict(json.loads(line)))
        except (TypeError, ValueError):
            continue
    return found


def checkpoints_of(directory: Path) -> Path:
    """Where a run keeps its checkpoints; there from the start of its training."""
    return directory / "checkpoints"


def evaluated_step(directory: Path, seeds: tuple[int, ...]) -> int:
    """The last step of which there is an evaluation of every seed; 0 before any.

    Raises:
      ValueError: if the table is damaged.
    """
    steps = dict.fromkeys(seeds, 0)
    for (_, seed), points in _read_points(directory / FILES["evaluation"]).items():
        steps[seed] = points[-1][0]
    return min(steps.values())


def read_evaluations(directory: Path, eval_period: int) -> Points:
    """Steps and mean returns of each member and seed; "" where rows tell no member.

    Raises:
      ValueError: if the table is damaged: a cell is no number, or an evaluation is missing.
    """
    path = directory / FILES["evaluation"]
    found = _read_points(path)
    for (member, seed), points in found.items():
        who, steps = name_member(member, seed), [step for step, _ in points]
        if any(later <= step for step, later in itertools.pairwise(steps)):
            raise ValueError(f"{path} is damaged: the steps of {who} do not increase")
        # There may be others: a run that was made longer has one where it had ended.
        if missing := set(range(0, steps[-1], eval_period)) - set(steps):
            raise ValueError(f"{path} is damaged: {who} has no evaluation at step {min(missing):,}")
    return found


def _read_points(path: Path) -> Points:
    """A table of evaluations as it stands; raises ValueError if a cell is no number."""
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
    """Whose a row is, in words."""
    return f"member {member}" if member else f"seed {seed}"


def has_lost_its_checkpoints(directory: Path, seeds: tuple[int, ...], steps: int) -> bool:
    """Whether a run of so many steps was finished, and the folder of its checkpoints is gone."""
    gone = not checkpoints_of(directory).exists()
    return gone and evaluated_step(directory, seeds) >= steps
