"""Draws the pictures of a report as SVG.

Methods have the same colours everywhere. Everything else has the page's colour, `currentColor`, so
that pictures are readable on light and dark pages.
"""

import contextlib
import io
import re
import textwrap
import zlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from experiments.report.aggregates import Arm
from experiments.report.curves import draw_mean, draw_over_paper, find_limits
from experiments.report.groups import Group
from experiments.report.methods import COLORS, Method
from experiments.report.read import Run
from experiments.report.run_files import LayerHistory
from experiments.report.statistics import performance_profile

Layers = Mapping[tuple[str, str], LayerHistory]

# Placeholder for the page's colour while matplotlib draws.
_PAGE = "#010203"
# Characters per line.
_TITLE_WIDTH, _LABEL_WIDTH = 48, 34
# More methods in one picture cannot be distinguished.
MOST_TOGETHER = 8
# Methods of one algorithm share a colour; dashes distinguish them, one per method of a picture.
_DASHES: tuple[Any, ...] = (
    *("-", "--", ":", "-."),
    *((0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (10, 3))),
)
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.figsize": (4.6, 3.2),
    **dict.fromkeys(
        (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
        ),
        _PAGE,
    ),
}


def draw_curves(groups: Sequence[Group]) -> list[str]:
    """Draws the methods of one task and length together, and each over the paper's curve.

    Leaves out the first picture if there are more than `MOST_TOGETHER`.
    """
    limits = find_limits(groups)
    pictures = []
    if 1 < len(groups) <= MOST_TOGETHER:
        dashes = _dashes([group.method.algo for group in groups])
        with _axes(f"{groups[0].method.where}: all methods") as (axis, written):
            for group, dash in zip(groups, dashes, strict=True):
                draw_mean(axis, group, dash)
            _finish_curves(axis, limits)
        pictures.append(written[0])
    for group in groups:
        with _axes(f"{group.method.label}, {group.method.where}") as (axis, written):
            draw_over_paper(axis, group, _PAGE)
            _finish_curves(axis, limits)
        pictures.append(written[0])
    return pictures


def _finish_curves(axis: Any, limits: tuple[float, float]) -> None:
    axis.set_ylim(*limits)
    axis.set_ylabel("return")
    _finish_steps(axis)


def _finish_steps(axis: Any) -> None:
    axis.set_xlabel("environment steps")
    axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    _add_legend(axis)


def draw_profiles(arms: Sequence[Arm]) -> list[str]:
    """Draws the share of runs above each normalised score, a picture per length."""
    pictures = []
    by_length = sorted(arms, key=lambda arm: (arm.reached, arm.length))
    for steps in dict.fromkeys(arm.steps for arm in by_length):
        together = [arm for arm in arms if arm.steps == steps]
        highest = max(float(np.max(runs)) for arm in together for runs in arm.scores.values())
        thresholds = np.linspace(0, 1.05 * max(highest, 1), 200)
        dashes = _dashes([arm.algo for arm in together])
        with _axes(f"Performance profiles at {steps} steps") as (axis, written):
            for arm, dash in zip(together, dashes, strict=True):
                shares = performance_profile(list(arm.scores.values()), thresholds)
                style = {"color": COLORS[arm.algo], "linestyle": dash, "drawstyle": "steps-post"}
                axis.plot(thresholds, shares, label=arm.label, **style)
            axis.set_xlabel("final return, of the paper's TD3 at the same step")
            axis.set_ylabel("share of runs above")
            _add_legend(axis)
        pictures.append(written[0])
    return pictures


def draw_topology(method: Method, runs: Sequence[tuple[Run, Layers]]) -> list[str]:
    """Draws churn, dormant units and input degrees; leaves out the first and last of fixed masks.

    Churn and dormant units have a line per seed and network; degrees show the first seed.
    """
    every = [history for _, layers in runs for history in layers.values()]
    moves = any(history.churn.any() for history in every)
    pictures = [_draw_shares(method, runs, "churn")] if moves else []
    pictures.append(_draw_shares(method, runs, "dormant"))
    run, layers = runs[0]
    for network in ("actor", "critic_1"):
        history = layers.get((network, "hidden_0"))
        if moves and history is not None and history.degrees:
            pictures.append(_draw_degrees(method, network, run.seed, history.degrees))
    return pictures


def _draw_shares(method: Method, runs: Sequence[tuple[Run, Layers]], name: str) -> str:
    labels = {"churn": "new since the evaluation before", "dormant": "share of dormant units"}
    with _axes(f"{method.label}, {method.where}: {name}") as (axis, written):
        for _, layers in runs:
            for network, dash in zip(("actor", "critic_1", "critic_2"), _DASHES, strict=False):
                steps, shares = _share(layers, network, name)
                if len(steps):
                    style = {"color": method.color, "linestyle": dash, "linewidth": 1}
                    axis.plot(steps, shares, label=network, **style)
        axis.set_ylabel(labels[name])
        axis.set_ylim(bottom=0)
        _finish_steps(axis)
    return written[0]


def _share(layers: Layers, network: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and shares over a network's hidden layers, of connections or units."""
    own = [
        history
        for (of, layer), history in layers.items()
        if of == network and layer.startswith("hidden")
    ]
    if not own:
        return np.array([]), np.array([])
    if name == "churn":
        part = sum(history.churn * history.connections for history in own)
        whole = sum(history.connections for history in own)
    else:
        part = sum(history.dormant_units for history in own)
        whole = sum(history.units for history in own)
    shares = np.asarray(part) / np.asarray(whole)
    known = np.isfinite(shares)
    return own[0].steps[known], shares[known]


def _draw_degrees(method: Method, network: str, seed: int, degrees: tuple[np.ndarray, ...]) -> str:
    first, last = degrees[0], degrees[-1]
    with _axes(f"{method.label}, {method.where}: inputs of the {network}") as (axis, written):
        places = np.arange(len(first))
        axis.vlines(places, first, last, color=_PAGE, alpha=0.3, linewidth=1)
        size = 4 if len(first) < 60 else 1.5
        axis.plot(places, first, "o", color=_PAGE, alpha=0.5, markersize=size, label="at first")
        axis.plot(places, last, "o", color=method.color, markersize=size, label="at last")
        axis.set_xlabel(f"input, seed {seed}")
        axis.set_ylabel("connections")
        axis.set_ylim(bottom=0)
        _add_legend(axis)
    return written[0]


def _add_legend(axis: Any) -> None:
    """Adds a legend if there are lines; lines of several seeds share a label."""
    lines, labels = axis.get_legend_handles_labels()
    named = {
        textwrap.fill(label, _LABEL_WIDTH): line for label, line in zip(labels, lines, strict=True)
    }
    if named:
        legend = axis.legend(named.values(), named.keys(), loc="best")
        legend.set_in_layout(False)  # A wide one must not squeeze the axes.


def _dashes(algos: Sequence[str]) -> list[Any]:
    """Returns a dash for each method: methods of one algorithm get different ones."""
    before = [algos[:place].count(algo) for place, algo in enumerate(algos)]
    return [_DASHES[count % len(_DASHES)] for count in before]


@contextlib.contextmanager
def _axes(title: str) -> Iterator[tuple[Any, list[str]]]:
    """Yields an axis to draw on and a list that receives the picture."""
    import matplotlib
    from matplotlib.figure import Figure

    written: list[str] = []
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": title}):
        figure = Figure(layout="constrained")
        axis = figure.add_subplot()
        axis.set_title(textwrap.fill(title, _TITLE_WIDTH))
        axis.patch.set_alpha(0)
        yield axis, written
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    written.append(_inline(text.getvalue(), title))


def _inline(svg: str, title: str) -> str:
    """Returns an SVG file as part of a page, with unique ids and the page's colour and width."""
    svg = svg[svg.index("<svg") :].replace(_PAGE, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    own = f"f{zlib.crc32(svg.encode()):08x}"
    svg = re.sub(r'\bid="', f'id="{own}-', svg)
    svg = re.sub(r'href="#', f'href="#{own}-', svg).replace("url(#", f"url(#{own}-")
    label = f'<svg role="img" aria-label="{escape(title, quote=True)}"'
    return re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2).replace("<svg", label, 1)
