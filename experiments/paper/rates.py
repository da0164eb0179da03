"""Estimates how long the rest of the runs takes, by the timings of earlier ones."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.config.presets import ALGORITHMS, resolve
from dsrl_jax.config.to_json import describe
from experiments.paper.existing_runs import ExistingRun
from experiments.paper.tasks import Task
from experiments.run_dir.state import FILES, read_rows, read_starts

# Steps per second, by environment and algorithm.
Rates = Mapping[tuple[str, str], float]


class Interval(NamedTuple):
    """The steps between two evaluations of one process."""

    first: int
    last: int
    seconds: float


def read_intervals(directory: Path) -> list[Interval]:
    """Returns the intervals in timings.csv; none if it is missing or damaged."""
    try:
        rows = read_rows(directory / FILES["timing"])
        times = [(int(row["env_step"]), float(row["seconds"])) for row in rows]
        starts = [int(start["env_step"]) for start in read_starts(directory)]
    except (OSError, KeyError, ValueError):
        return []
    # Each process has a clock of its own.
    return [
        Interval(first, last, after - before)
        for (first, before), (last, after) in zip(times, times[1:], strict=False)
        if first < last and before < after and not any(first <= step < last for step in starts)
    ]


def measure_rates(existing: Iterable[ExistingRun]) -> dict[tuple[str, str], float]:
    """Returns the rates of existing runs, updates included, with the paper's sizes only."""
    steps: dict[tuple[str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for run in existing:
        kind = (run.config["env"], run.config["algo"])
        if not _has_paper_sizes(run.config):
            continue
        update_after = run.config.get("update_after")
        start = run.config.get("start_steps", 0) if update_after is None else update_after
        for interval in read_intervals(run.directory):
            if interval.first >= start:
                steps[kind] += interval.last - interval.first
                seconds[kind] += interval.seconds
    return {kind: steps[kind] / seconds[kind] for kind in steps}


def _has_paper_sizes(config: Mapping[str, Any]) -> bool:
    if config["algo"] not in ALGORITHMS:
        return False
    usual = describe(resolve(config["env"], config["algo"]))
    return all(config.get(name) == usual[name] for name in ("hidden_sizes", "batch_size"))


def time_left(tasks: Sequence[Task], reached: Mapping[Path, int], rates: Rates, jobs: int) -> str:
    """Returns the time that the rest of tasks takes, and how many tasks have no rate yet.

    Args:
      reached: the step of each task, by directory.
    """
    seconds, without = [], 0
    for task in tasks:
        left = task.steps - reached[task.directory]
        rate = rates.get((task.env, task.algo))
        if left > 0 and rate:
            seconds.append(left / rate)
        elif left > 0:
            without += 1
    parts = []
    if seconds:
        # Neither all cores together nor the longest run can be faster.
        time = format_time(max(sum(seconds) / jobs, *seconds))
        parts.append(f"{time} for {_count_runs(len(seconds))}" if without else time)
    if without:
        parts.append(f"no rate yet for {_count_runs(without)}")
    return ", ".join(parts) or "none"


def _count_runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def format_time(seconds: float) -> str:
    """Returns minutes, hours or days, to about two digits."""
    for unit, size in (("days", 86_400), ("h", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 60) / 60:.0f} min"
