"""Writes a sweep's results: members and settings as CSV, a ranked table, a picture."""

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np

from dsrl_jax.training.checkpoints.checksums import write_atomic
from experiments.cli.values import format_value
from experiments.sweep.directory import batch_directory
from experiments.sweep.plan import Member, SweepSpec
from experiments.sweep.ranking import Outcome, Ranked, rank, read_batch

# Rows that a terminal shows; ranking.csv has all.
_SHOWN = 40
# There are no colours for more curves, and no room in a picture for more intervals.
_CURVES, _INTERVALS = 8, 40


def report(spec: SweepSpec, batches: list[list[Member]], directory: Path) -> str:
    """Writes members.csv, curves.csv, ranking.csv and sweep.png; returns the table."""
    found = [
        outcome
        for number, batch in enumerate(batches, start=1)
        for outcome in read_batch(batch_directory(directory, number), number, batch)
    ]
    ranking = rank(found)
    _write_table(directory / "members.csv", [_member_cells(spec, each) for each in found])
    _write_table(
        directory / "curves.csv",
        [
            {**_identify(spec, each), "env_step": step, "return_mean": value}
            for each in found
            for step, value in each.curve
        ],
    )
    rows = [_rank_cells(spec, place, each) for place, each in enumerate(ranking, start=1)]
    _write_table(directory / "ranking.csv", rows)
    lines = format_table(rows[:_SHOWN])
    if len(rows) > _SHOWN:
        lines.append(f"and {len(rows) - _SHOWN} more in ranking.csv")
    lines.append(f"results in {directory}: ranking.csv, members.csv, curves.csv")
    if importlib.util.find_spec("matplotlib") is None:
        return "\n".join([*lines, "no picture without matplotlib: pip install -e '.[plots]'"])
    draw(ranking, directory / "sweep.png")
    return "\n".join([*lines, "picture: sweep.png"])


def _axes(spec: SweepSpec, values: dict[str, Any]) -> dict[str, str]:
    """Returns a cell for each axis; empty if the method does not have the setting."""
    return {n: format_value(values[n]) if n in values else "" for n in spec.axes}


def _identify(spec: SweepSpec, each: Outcome) -> dict[str, Any]:
    values = _axes(spec, each.member.values)
    return {"batch": each.batch, "member": each.number, "seed": each.member.seed, **values}


def _member_cells(spec: SweepSpec, each: Outcome) -> dict[str, Any]:
    return {
        **_identify(spec, each),
        "frozen_at": each.frozen_at,
        "final": each.final,
        "last10": each.last10,
        "lca": each.learning_curve_area,
        "connections": each.connections,
    }


def _rank_cells(spec: SweepSpec, place: int, each: Ranked) -> dict[str, Any]:
    return {
        "rank": place,
        **_axes(spec, each.values),
        "seeds": len(each.outcomes),
        "frozen": each.frozen,
        "lca": each.lca,
        "lca_low": each.low,
        "lca_high": each.high,
        "final": each.final,
        "connections": each.connections,
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().rstrip("\n"))


def format_table(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the lines of a table, right-aligned under the names of the cells."""
    formats = {"final": ".1f", "connections": ",.0f", "lca": ".4f"}
    formats |= {"lca_low": ".4f", "lca_high": ".4f"}
    cells = [[format(row[name], formats.get(name, "")) for name in row] for row in rows]
    columns = list(zip(rows[0], *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True))
        for line in zip(*columns, strict=True)
    ]


def draw(ranking: list[Ranked], output: Path) -> None:
    """Draws the curves of the best settings, and the interval of every setting, as PNG.

    A member's curve is a thin line, a setting's mean a thick one.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = ranking[:_INTERVALS]
    height = max(4.0, 1.5 + 0.3 * len(shown))
    figure, (curves, areas) = pyplot.subplots(1, 2, figsize=(12, height), dpi=110)
    for place, each in enumerate(ranking[:_CURVES]):
        draw_curves(curves, each, f"C{place}")
    curves.set_xlabel("environment steps")
    curves.set_ylabel("return")
    curves.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    if curves.get_legend_handles_labels()[0]:  # Empty if all members are frozen.
        curves.legend(loc="lower right", frameon=False, fontsize="small")
    for place, each in enumerate(shown):
        color = f"C{place}" if place < _CURVES else "0.5"
        own = [one.learning_curve_area for one in each.outcomes]
        areas.plot(own, [place] * len(own), ".", color=color, alpha=0.4)
        areas.plot([each.low, each.high], [place, place], color=color)
        areas.plot([each.lca], [place], "o", color=color)
    areas.set_yticks(range(len(shown)), [_label(each) for each in shown], fontsize="small")
    areas.invert_yaxis()
    areas.set_xlabel("learning curve area: seeds, mean and 95 % interval")
    figure.tight_layout()
    figure.savefig(output)
    pyplot.close(figure)


def draw_curves(axis: Any, each: Ranked, color: str) -> None:
    """Draws a setting's members and the mean of those that were not frozen."""
    for one in each.outcomes:
        axis.plot(*zip(*one.curve, strict=True), color=color, alpha=0.3, linewidth=0.8)
    whole = [dict(one.curve) for one in each.outcomes if one.frozen_at is None]
    if whole:
        # If --steps were raised, a batch that had ended before has one more evaluation.
        steps = sorted(set.intersection(*map(set, whole)))
        mean = np.mean([[curve[step] for step in steps] for curve in whole], axis=0)
        axis.plot(steps, mean, color=color, label=_label(each))


def _label(each: Ranked) -> str:
    values = [f"{name} {format_value(value)}" for name, value in each.values.items()]
    frozen = f" ({each.frozen} frozen)" if each.frozen else ""
    return (", ".join(values) or "all seeds") + frozen
