"""What run directories tell beside returns: topology and time. Collected runs tell neither."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from experiments.report.read import Run, read_table
from experiments.run_directory import FILES, read_starts

_NUMBERS = ("connections", "churn", "overlap", "units", "dormant_units")


class LayerHistory(NamedTuple):
    """A layer of one network of one seed, by evaluation; float64, NaN where it is not known."""

    steps: np.ndarray
    connections: np.ndarray
    churn: np.ndarray  # share of connections that the evaluation before lacked
    overlap: np.ndarray  # share of connections that the first mask had
    units: np.ndarray
    dormant_units: np.ndarray
    degrees: tuple[np.ndarray, ...]  # connections of each input; of first layers alone


class Duration(NamedTuple):
    """How long a run took, in all of its parts together; seconds."""

    steps: int
    seconds: float
    evaluation_seconds: float
    checkpoint_seconds: float


def read_topology(run: Run) -> dict[tuple[str, str], LayerHistory]:
    """By network and layer; empty where nothing was recorded."""
    found = defaultdict(list)
    for row in read_table(run.directory / FILES["topology"]):
        if int(row["seed"]) == run.seed and row.get("member", "") == run.member:
            found[row["network"], row["layer"]].append(row)
    return {key: _history(rows) for key, rows in found.items()}


def _history(rows: list[dict[str, str]]) -> LayerHistory:
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in _NUMBERS}
    degrees = [np.array(row["input_degrees"].split(), int) for row in rows if row["input_degrees"]]
    steps = np.array([int(row["env_step"]) for row in rows])
    return LayerHistory(steps, **columns, degrees=tuple(degrees))


def read_duration(run: Run) -> Duration | None:
    """The time of all its processes, each up to its last evaluation; None if nobody measured it."""
    starts = sorted(int(start["env_step"]) for start in read_starts(run.directory))
    last: dict[int, dict[str, str]] = {}
    for row in read_table(run.directory / FILES["timing"]):
        # Each process counts from its own start.
        part = sum(start < int(row["env_step"]) for start in starts)
        last[max(part, 1)] = row
    if not last:
        return None
    names = ("seconds", "evaluation_seconds", "checkpoint_seconds")
    totals = [sum(float(row.get(name) or 0) for row in last.values()) for name in names]
    return Duration(max(int(row["env_step"]) for row in last.values()), *totals)
