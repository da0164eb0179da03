"""A report as plain data, for any format, and numbers for people."""

import math
from collections.abc import Sequence
from typing import NamedTuple

# Text of a cell without a run.
NOT_RUN = "not yet run"


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    kind: str = ""  # "missing", or a verdict's: "holds", "fails", "open"


class Table(NamedTuple):
    """A table with a caption."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    words: int = 1  # columns of words, from the left; the others are numbers


class Figure(NamedTuple):
    """Pictures with one caption."""

    caption: str
    pictures: Sequence[str]  # SVG


class Section(NamedTuple):
    """A part of a report. Reports leave out sections without a block."""

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
    """Returns a cell without a number of ours."""
    return Cell(text, "missing")


def number(value: float | None, digits: int = 0) -> str:
    """Returns a number for people; a dash if it is unknown."""
    return "–" if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def spread(mean: float, deviation: float, digits: int = 0) -> str:
    """Returns a mean, and its deviation if that is known."""
    shown = number(mean, digits)
    return shown if math.isnan(deviation) else f"{shown} ± {number(deviation, digits)}"


def out_of(count: int, total: int) -> str:
    """Returns a count, and the total if that is greater."""
    return f"{count}" if count == total else f"{count} of {total}"


def probability(value: float) -> str:
    """Returns a p-value; a dash if there is none."""
    if math.isnan(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
