"""Estimates how long the remaining runs take, from the timings of earlier ones."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrl_jax.config.presets import ALGORITHMS, resolve
from dsrl_jax.config.to_json import describe
from experiments.paper.existing_runs import ExistingRun
from experiments.paper.tasks import Task
from experiments.run_dir.state import FILES, read_rows, read_starts

# Steps per second, by environment and algorithm.
Rates = Mapping[tuple[str, str], float]


def read_progress(directory: Path, steps_before_updates: int) -> tuple[int, float | None]:
    """Returns the last step in a run's timings.csv, and its latest rate with updates if known.

    A file that is missing or damaged has step 0 and no rate.
    """
    try:
        rows = read_rows(directory / FILES["timing"])[-2:]
        times = [(int(row["env_step"]), float(row["seconds"])) for row in rows]
        starts = [int(start["env_step"]) for start in read_starts(directory)]
    except (OSError, KeyError, ValueError):
        return 0, None
    if len(times) < 2:
        return times[0][0] if times else 0, None
    (first, before), (last, after) = times
    # Each process starts its own clock, and compiles first.
    one_process = not any(first <= start < last for start in starts)
    is_rate = steps_before_updates <= first < last and before < after and one_process
    return last, (last - first) / (after - before) if is_rate else None


def measure_rates(existing: Iterable[ExistingRun]) -> dict[tuple[str, str], float]:
    """Returns the mean rate of existing runs that have the paper's networks and batches."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in existing:
        if _has_paper_sizes(run.config):
            update_after = run.config.get("update_after")
            start = run.config.get("start_steps", 0) if update_after is None else update_after
            _, rate = read_progress(run.directory, start)
            found[run.config["env"], run.config["algo"]] += [rate] if rate else []
    return {kind: sum(rates) / len(rates) for kind, rates in found.items() if rates}


def _has_paper_sizes(config: Mapping[str, Any]) -> bool:
    if config["algo"] not in ALGORITHMS:
        return False
    usual = describe(resolve(config["env"], config["algo"]))
    return all(config.get(name) == usual[name] for name in ("hidden_sizes", "batch_size"))


def time_left(tasks: Sequence[Task], reached: Mapping[Path, int], rates: Rates, jobs: int) -> str:
    """Returns the time that unfinished tasks take, and how many of them have no rate yet.

    Args:
      reached: the step of each task, by directory.
    """
    seconds, without = [], 0
    for task in tasks:
        left = task.steps - reached[task.directory]
        rate = rates.get(task.kind)
        if left > 0 and rate:
            seconds.append(left / rate)
        elif left > 0:
            without += 1
    parts = []
    if seconds:
        # A lower bound: evenly shared work, but at least the time of the longest run.
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
