"""Learning curves: `python -m experiments.plot RUN_DIR... --output=FILE.png`.

Draws each method's seeds and their mean, over the paper's mean and deviation where it has the
task.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments.command import start
from experiments.flags import help_text, parse
from experiments.paper_curves import Curve as PaperCurve
from experiments.paper_curves import read_curves as read_paper_curves
from experiments.run_state import read_rows
from experiments.values import UsageError

# The same colour for the same method everywhere; distinguishable to the colour-blind (Okabe, Ito).
COLORS = {
    "ds_td3": "#D55E00",
    "static_td3": "#009E73",
    "td3": "#0072B2",
    "ds_sac": "#CC79A7",
    "static_sac": "#E69F00",
    "sac": "#56B4E9",
}
LABELS = {
    "ds_td3": "DS-TD3",
    "static_td3": "Static-TD3",
    "td3": "TD3",
    "ds_sac": "DS-SAC",
    "static_sac": "Static-SAC",
    "sac": "SAC",
}


class Curve(NamedTuple):
    """One seed's evaluations."""

    env: str
    algo: str
    preset: str
    seed: int
    steps: np.ndarray  # environment steps
    returns: np.ndarray  # mean over an evaluation's episodes


def main(arguments: list[str]) -> int:
    """Draws what a command line names; returns the exit status."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "plot"}
    flags.DEFINE_string("output", "curves.png", "the picture's file; png, pdf or svg", **add)
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    try:
        directories = parse(values, arguments, stray=True)
        if values.help:
            print(__doc__ + help_text(values))
            return 0
        if not directories:
            raise UsageError("name one or more run directories: python -m experiments.plot DIR...")
        curves = [curve for name in directories for curve in read_curves(Path(name))]
        draw(curves, Path(values.output))
    except BrokenPipeError:  # The reader has gone: `command.start` ends it.
        raise
    except (OSError, ValueError) as error:  # The picture's folder or its format may not exist.
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(values.output)
    return 0


def read_curves(directory: Path) -> list[Curve]:
    """One curve for each seed of a run directory.

    Raises:
      UsageError: if it is none.
    """
    try:
        config = json.loads((directory / "config.json").read_text())
        rows = read_rows(directory / "evaluations.csv")
    except (OSError, ValueError) as error:
        raise UsageError(f"{directory} is no run directory: {error}") from error
    if not rows:
        raise UsageError(f"{directory} has no evaluations yet")
    found = defaultdict(list)
    for row in rows:
        whose = (row.get("member"), int(row["seed"]))  # Members of a sweep may share a seed.
        found[whose].append((int(row["env_step"]), float(row["return_mean"])))
    return [
        Curve(config["env"], config["algo"], config["preset"], seed, *np.array(points, float).T)
        for (_, seed), points in found.items()
    ]


def read_paper(env: str, algo: str, preset: str) -> PaperCurve | None:
    """The paper's curve of a task and method, where it has one.

    Figure 1, or Figure 4 for SAC with copied targets.
    """
    figure = "4" if "sac" in algo and preset != "figure1" else "1"
    return read_paper_curves().get((figure, env.split("-")[0], algo))


def draw(curves: list[Curve], output: Path) -> None:
    """Draws curves into a file. Raises OSError or ValueError if it cannot be written."""
    from matplotlib import pyplot

    figure = make_figure(curves)
    figure.savefig(output)
    pyplot.close(figure)


def make_figure(curves: list[Curve]) -> Any:
    """One panel for each task, method and preset; its steps are those of the longest curve."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = defaultdict(list)
    for curve in sorted(curves, key=lambda curve: (curve.env, list(COLORS).index(curve.algo))):
        panels[curve.env, curve.algo, curve.preset].append(curve)
    one_task = len({env for env, _, _ in panels}) == 1
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 3.4), sharey=one_task, squeeze=False, dpi=110
    )
    for axis, together in zip(axes[0], panels.values(), strict=True):
        _draw_method(axis, together)
    axes[0][0].set_ylabel("return")
    figure.tight_layout()
    return figure


def _draw_method(axis: Any, curves: list[Curve]) -> None:
    """The seeds of one task, method and preset, over the paper's."""
    algo, preset = curves[0].algo, curves[0].preset
    end = max(curve.steps[-1] for curve in curves)
    if (paper := read_paper(curves[0].env, algo, curves[0].preset)) is not None:
        steps, mean, deviation = paper.until(end)
        axis.plot(steps, mean, color="0.35", label="paper, 5 seeds")
        axis.fill_between(steps, mean - deviation, mean + deviation, color="0.85")
    for curve in curves:
        axis.plot(curve.steps, curve.returns, color=COLORS[algo], alpha=0.4, linewidth=0.9)
    common = sorted(set.intersection(*(set(curve.steps) for curve in curves)))
    returns = [curve.returns[np.isin(curve.steps, common)] for curve in curves]
    label = f"mean of {len(curves)} seeds" if len(curves) > 1 else f"seed {curves[0].seed}"
    axis.plot(common, np.mean(returns, axis=0), color=COLORS[algo], label=label)
    suffix = "" if preset == "paper" else f" ({preset})"
    axis.set_title(f"{LABELS[algo]}{suffix}, {curves[0].env}")
    axis.set_xlabel("environment steps")
    axis.legend(loc="lower right", frameon=False)
    axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))


def draw_degrees(directory: Path, output: Path) -> None:
    """Draws the connections of each input over time, as PNG: a row a seed, a column a network."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    degrees: dict[tuple[str, str], list[tuple[int, list[int]]]] = defaultdict(list)
    for row in read_rows(directory / "topology.csv"):
        if row["input_degrees"]:
            counts = [int(count) for count in row["input_degrees"].split()]
            degrees[row["seed"], row["network"]].append((int(row["env_step"]), counts))
    seeds, networks = (list(dict.fromkeys(keys)) for keys in zip(*degrees, strict=True))
    figure, axes = pyplot.subplots(
        len(seeds),
        len(networks),
        figsize=(4 * len(networks), 3 * len(seeds)),
        squeeze=False,
        dpi=100,
    )
    for (seed, network), found in degrees.items():
        axis = axes[seeds.index(seed)][networks.index(network)]
        over_time = np.array([counts for _, counts in found]).T
        edges = (found[0][0], max(found[-1][0], 1), -0.5, len(over_time) - 0.5)
        image = axis.imshow(
            over_time, aspect="auto", origin="lower", extent=edges, interpolation="nearest"
        )
        axis.set_title(f"{network}, seed {seed}")
        axis.set_xlabel("environment steps")
        figure.colorbar(image, ax=axis, label="connections")
    axes[0][0].set_ylabel("input")
    figure.tight_layout()
    figure.savefig(output)
    pyplot.close(figure)


if __name__ == "__main__":
    start(main)
