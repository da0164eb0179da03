"""Sides measured in turn, and what is told of them: medians, ratios of medians, a table."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Name = TypeVar("Name", bound=Hashable)

# Does a fixed amount of work and returns the seconds that it took. It comes warm: whatever is
# compiled or filled has been, and it has run before.
Side = Callable[[], float]


class MeasurementError(Exception):
    """A measurement that did not come about, in one line."""


class Report(NamedTuple):
    """What a benchmark found."""

    tables: tuple[str, ...]
    results: Mapping[str, Any]  # medians and ratios of medians, units in the names
    samples: dict[str, list[float]]  # every measurement that they are made of


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Side:
    """A side whose seconds are those of the whole call."""

    def side() -> float:
        start = clock()
        run()
        return clock() - start

    return side


def ask(command: Sequence[str], directory: Path, **variables: str) -> str:
    """What a process prints, in the environment with some variables more.

    A process that asks ends the one that is asked with itself.

    Raises:
      MeasurementError: if it fails; with the last line of its stderr.
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
    """Why a process failed, by its stderr."""
    return (errors.strip().splitlines() or ["no reason told"])[-1].removeprefix("error: ")


def in_turn(sides: Mapping[Name, Side], repetitions: int) -> dict[Name, list[float]]:
    """Seconds of every side; each repetition runs them all once, in order.

    What slows the machine for a while so falls on all sides alike, and ratios keep.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, side in sides.items():
            seconds[name].append(side())
    return seconds


def rates(seconds: Sequence[float], work: float) -> list[float]:
    """Work a second, for each time that the same work took."""
    return [work / taken for taken in seconds]


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number, the mean of the two in the middle."""
    return statistics.median(values)


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of every sample, by its name."""
    return {name: median(values) for name, values in samples.items()}


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The ratio of two sides' medians."""
    return median(above) / median(below)


def show(value: float) -> str:
    """A number as a table has it: whole from 1000 on, three digits below."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> list[str]:
    """Three cells: median, lowest, highest."""
    return [show(median(values)), show(min(values)), show(max(values))]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, numbers to the right."""
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
