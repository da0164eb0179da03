"""Draws learning curves on a matplotlib axis: seeds, their mean, and the paper's curve."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.report import published
from experiments.report.groups import Group
from experiments.report.paper_curves import PERIOD, Curve


def draw_mean(axis: Any, group: Group, dash: Any) -> None:
    """Draws mean and deviation of a group, in one of matplotlib's line styles."""
    steps, returns = group.curves()
    mean, deviation = _band(returns)
    style = {"color": group.method.color, "linestyle": dash}
    axis.plot(steps, mean, label=group.method.label, linewidth=1.5, **style)
    axis.fill_between(steps, mean - deviation, mean + deviation, color=style["color"], alpha=0.15)


def draw_over_paper(axis: Any, group: Group, neutral: str) -> None:
    """Draws seeds, their mean and deviation over the paper's mean and deviation.

    Args:
      neutral: the colour of the paper's curve.
    """
    if (curve := _papers(group)) is not None:
        steps, mean, deviation = curve
        axis.plot(steps, mean, color=neutral, alpha=0.7, linewidth=1, label="paper, 5 seeds")
        axis.fill_between(steps, mean - deviation, mean + deviation, color=neutral, alpha=0.15)
    for run in group.runs:
        axis.plot(run.steps, run.returns, color=group.method.color, alpha=0.35, linewidth=0.7)
    steps, returns = group.curves()
    mean, deviation = _band(returns)
    label = f"ours, {len(returns)} seed{'s' if len(returns) > 1 else ''}"
    style = {"color": group.method.color, "linewidth": 1.6}
    axis.plot(steps, mean, marker="o" if len(steps) == 1 else "", label=label, **style)
    band = {"color": group.method.color, "alpha": 0.2, "linewidth": 0}
    axis.fill_between(steps, mean - deviation, mean + deviation, **band)


def find_limits(groups: Sequence[Group]) -> tuple[float, float]:
    """Returns limits of returns for all panels: 0, all seeds and the paper's deviations fit."""
    values = [np.zeros(1), *(run.returns for group in groups for run in group.runs)]
    for group in groups:
        if (curve := _papers(group)) is not None:
            values += [curve.mean - curve.deviation, curve.mean + curve.deviation]
    every = np.concatenate(values)
    room = 0.05 * float(np.ptp(every)) or 1.0
    return float(every.min()) - room, float(every.max()) + room


def _papers(group: Group) -> Curve | None:
    """Returns the paper's curve up to the step that a group has reached, if it has one."""
    curve = published.curve_of(group.method)
    return curve and curve.until(max(group.reached, PERIOD))


def _band(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation by step; the deviation of a single seed is 0."""
    mean = returns.mean(axis=0)
    return mean, returns.std(axis=0, ddof=1) if len(returns) > 1 else np.zeros_like(mean)
