"""Measures sides in turn and reports medians, ratios of medians and a table."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Name = TypeVar("Name", bound=Hashable)

# Does a fixed amount of work and returns the seconds that it took. Whoever makes a side has
# compiled its programs and run it once.
Side = Callable[[], float]


class MeasurementError(Exception):
    """A measurement that failed; the message is one line."""


class Report(NamedTuple):
    """The findings of a benchmark."""

    tables: tuple[str, ...]
    results: Mapping[str, Any]  # medians and ratios of medians; names end in the unit
    samples: dict[str, list[float]]  # every measurement behind them


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Side:
    """Returns a side that times one call of `run`."""

    def side() -> float:
        start = clock()
        run()
        return clock() - start

    return side


def in_turn(sides: Mapping[Name, Side], repetitions: int) -> dict[Name, list[float]]:
    """Measures every side once per repetition, in order, and returns the seconds of each.

    A slow phase of the machine then affects all sides alike, so that ratios stay comparable.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, side in sides.items():
            seconds[name].append(side())
    return seconds


def rates(seconds: Sequence[float], work: float) -> list[float]:
    """Returns the work per second of each measurement."""
    return [work / taken for taken in seconds]


def median(values: Sequence[float]) -> float:
    """Returns the middle value; of an even number, the mean of the two in the middle."""
    return statistics.median(values)


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Returns the median of every sample by its name."""
    return {name: median(values) for name, values in samples.items()}


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Returns the ratio of the medians of two sides."""
    return median(above) / median(below)


def show(value: float) -> str:
    """Formats a number for a table: whole from 100 on, three digits below."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> list[str]:
    """Returns three cells: median, lowest, highest."""
    return [show(median(values)), show(min(values)), show(max(values))]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligns columns to their widest cell: the first one left, all others right."""
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def ask(command: Sequence[str], directory: Path, **variables: str) -> str:
    """Runs a process and returns what it prints; ends the process if this one is interrupted.

    Args:
      variables: environment variables to add.
    Raises:
      MeasurementError: if the process fails; quotes the last line of its stderr.
    """
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed, errors = process.communicate()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        raise MeasurementError(f"{' '.join(command)} failed: {last_line(errors)}")
    return printed


def last_line(errors: str) -> str:
    """Returns the last line of a process's stderr, its reason for failing."""
    return (errors.strip().splitlines() or ["it gave no reason"])[-1].removeprefix("error: ")
