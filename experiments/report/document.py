"""A report as plain data, whatever it is written as."""

import math
from collections.abc import Sequence
from typing import NamedTuple

# A cell that no run fills yet.
NOT_RUN = "not yet run"


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    kind: str = ""  # "missing", or a verdict's: "holds", "fails", "open"


class Table(NamedTuple):
    """A table with what a reader must know of it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    words: int = 1  # columns from the left that are no numbers


class Figure(NamedTuple):
    """Pictures that belong together."""

    caption: str
    pictures: Sequence[str]  # SVG


class Section(NamedTuple):
    """A part of a report. What has no block is left out."""

    title: str
    text: str
    blocks: Sequence[Table | Figure]


class Document(NamedTuple):
    """A whole report."""

    title: str
    text: str
    notes: Sequence[str]
    sections: Sequence[Section]


def missing(text: str = NOT_RUN) -> Cell:
    """A cell without a figure of ours."""
    return Cell(text, "missing")


def number(value: float | None, digits: int = 0) -> str:
    """A number for people; a dash where it is not known."""
    return "–" if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def spread(mean: float, deviation: float, digits: int = 0) -> str:
    """A mean and its deviation, where that is known."""
    shown = number(mean, digits)
    return shown if math.isnan(deviation) else f"{shown} ± {number(deviation, digits)}"


def out_of(count: int, total: int) -> str:
    """A count, and of how many where that is more."""
    return f"{count}" if count == total else f"{count} of {total}"


def probability(value: float) -> str:
    """A p-value; a dash where there is none."""
    if math.isnan(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
