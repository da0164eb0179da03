"""The picture of a sweep: the curves of its best settings, and every setting's interval."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.cli.values import format_value

if TYPE_CHECKING:
    from experiments.sweep.report import Ranked

# Curves of more settings than this cannot be told apart, nor intervals of more be read.
_CURVES, _INTERVALS = 8, 40


def draw(ranking: "list[Ranked]", output: Path) -> None:
    """Draws a ranking, as PNG: every member a thin line, a setting's mean a thick one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = ranking[:_INTERVALS]
    height = max(4.0, 1.5 + 0.3 * len(shown))
    figure, (curves, areas) = pyplot.subplots(1, 2, figsize=(12, height), dpi=110)
    for place, each in enumerate(ranking[:_CURVES]):
        _draw_curves(curves, each, f"C{place}")
    curves.set_xlabel("environment steps")
    curves.set_ylabel("return")
    curves.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    if curves.get_legend_handles_labels()[0]:  # Every member may be frozen.
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


def _draw_curves(axis: Any, each: "Ranked", color: str) -> None:
    for one in each.outcomes:
        axis.plot(*zip(*one.curve, strict=True), color=color, alpha=0.3, linewidth=0.8)
    whole = [dict(one.curve) for one in each.outcomes if one.frozen_at is None]
    if whole:
        # Where --steps were raised, a batch that had ended before has one evaluation more.
        steps = sorted(set.intersection(*map(set, whole)))
        mean = np.mean([[curve[step] for step in steps] for curve in whole], axis=0)
        axis.plot(steps, mean, color=color, label=_label(each))


def _label(each: "Ranked") -> str:
    values = [f"{name} {format_value(value)}" for name, value in each.values.items()]
    frozen = f" ({each.frozen} frozen)" if each.frozen else ""
    return (", ".join(values) or "all seeds") + frozen
