"""Reads the topology and the times of run directories; collected runs have neither."""

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from experiments.report.read import Run, explain, read_table
from experiments.run_dir.state import FILES, read_starts

T = TypeVar("T")

_NUMBERS = ("connections", "churn", "overlap", "units", "dormant_units")


class LayerHistory(NamedTuple):
    """A layer of one network of one seed, by evaluation; float64, NaN if unknown."""

    steps: np.ndarray
    connections: np.ndarray
    churn: np.ndarray  # share of connections that the previous evaluation did not have
    overlap: np.ndarray  # share of connections that the first mask has
    units: np.ndarray
    dormant_units: np.ndarray
    degrees: tuple[np.ndarray, ...]  # connections of each input; only of first layers


class Duration(NamedTuple):
    """The time of a run, summed over its processes."""

    steps: int
    seconds: float
    evaluation_seconds: float
    checkpoint_seconds: float


def readable(read: Callable[[Run], T], run: Run, notes: list[str]) -> T | None:
    """Reads a file of a run; returns None and adds a note if it is damaged."""
    try:
        return read(run)
    except (OSError, ValueError) as error:
        if (note := explain(error)) not in notes:  # Members share a directory.
            notes.append(note)
        return None


def read_topology(run: Run) -> dict[tuple[str, str], LayerHistory]:
    """Returns histories by network and layer, for the evaluations that all layers have.

    Raises:
      ValueError: if the file is damaged.
    """
    path = run.directory / FILES["topology"]
    rows = read_table(path)
    found: dict[tuple[str, str], dict[int, dict[str, str]]] = defaultdict(dict)
    try:
        for row in rows:
            if int(row["seed"]) == run.seed and row.get("member", "") == run.member:
                found[row["network"], row["layer"]][int(row["env_step"])] = row
        # A killed run may have written only some layers of its last evaluation.
        steps = sorted(set.intersection(*map(set, found.values()))) if found else []
        if not steps:
            return {}
        return {key: _history([own[step] for step in steps]) for key, own in found.items()}
    except (LookupError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {explain(error)}") from error


def _history(rows: list[dict[str, str]]) -> LayerHistory:
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in _NUMBERS}
    degrees = [np.array(row["input_degrees"].split(), int) for row in rows if row["input_degrees"]]
    steps = np.array([int(row["env_step"]) for row in rows])
    return LayerHistory(steps, **columns, degrees=tuple(degrees))


def read_duration(run: Run) -> Duration | None:
    """Returns the time of all processes, each until its last evaluation; None without timings.

    Raises:
      ValueError: if a file is damaged.
    """
    path = run.directory / FILES["timing"]
    rows = read_table(path)
    last: dict[int, dict[str, str]] = {}
    try:
        starts = sorted(int(start["env_step"]) for start in read_starts(run.directory))
        for row in rows:
            # Each process starts its own clock.
            part = sum(start < int(row["env_step"]) for start in starts)
            last[max(part, 1)] = row
        if not last:
            return None
        names = ("seconds", "evaluation_seconds", "checkpoint_seconds")
        totals = [sum(float(row.get(name) or 0) for row in last.values()) for name in names]
        return Duration(max(int(row["env_step"]) for row in last.values()), *totals)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} or starts.jsonl is damaged: {explain(error)}") from error
