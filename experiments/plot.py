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
from experiments.flags import UsageError, parse
from experiments.summary import read_rows

PAPER_CURVES = Path("results/paper/curves.csv")

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
    flags.DEFINE_string("output", "curves.png", "the picture's file", flag_values=values)
    try:
        directories = parse(values, arguments, stray=True)
        if not directories:
            raise UsageError("name one or more run directories: python -m experiments.plot DIR...")
        curves = [curve for name in directories for curve in read_curves(Path(name))]
        draw(curves, Path(values.output))
    except UsageError as error:
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
    found = defaultdict(list)
    for row in rows:
        found[int(row["seed"])].append((int(row["env_step"]), float(row["return_mean"])))
    return [
        Curve(config["env"], config["algo"], config["preset"], seed, *np.array(points, float).T)
        for seed, points in found.items()
    ]


def read_paper(
    env: str, algo: str, preset: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Steps, mean and deviation of the paper's curve for a task and method, where it has one.

    Figure 1, or Figure 4 for SAC with copied targets.
    """
    figure = "4" if "sac" in algo and preset != "figure1" else "1"
    if not PAPER_CURVES.exists():
        return None
    rows = [
        (float(row["env_step"]), float(row["return_mean"]), float(row["return_std"]))
        for row in read_rows(PAPER_CURVES)
        if (row["figure"], row["env"], row["algo"]) == (figure, env.split("-")[0], algo)
    ]
    if not rows:
        return None
    steps, mean, deviation = np.array(rows).T
    return steps, mean, deviation


def draw(curves: list[Curve], output: Path) -> None:
    """Draws one panel for each method, as PNG; the steps shown are those of the longest curve."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    algos = [algo for algo in COLORS if any(curve.algo == algo for curve in curves)]
    figure, axes = pyplot.subplots(
        1, len(algos), figsize=(4.2 * len(algos), 3.4), sharey=True, squeeze=False, dpi=110
    )
    for axis, algo in zip(axes[0], algos, strict=True):
        _draw_method(axis, algo, [curve for curve in curves if curve.algo == algo])
    axes[0][0].set_ylabel("return")
    figure.tight_layout()
    figure.savefig(output)
    pyplot.close(figure)


def _draw_method(axis: Any, algo: str, curves: list[Curve]) -> None:
    end = max(curve.steps[-1] for curve in curves)
    if (paper := read_paper(curves[0].env, algo, curves[0].preset)) is not None:
        steps, mean, deviation = paper
        shown = steps <= end
        steps, mean, deviation = steps[shown], mean[shown], deviation[shown]
        axis.plot(steps, mean, color="0.35", label="paper, 5 seeds")
        axis.fill_between(steps, mean - deviation, mean + deviation, color="0.85")
    for curve in curves:
        axis.plot(curve.steps, curve.returns, color=COLORS[algo], alpha=0.4, linewidth=0.9)
    length = min(len(curve.steps) for curve in curves)
    mean = np.mean([curve.returns[:length] for curve in curves], axis=0)
    label = f"mean of {len(curves)} seeds" if len(curves) > 1 else f"seed {curves[0].seed}"
    axis.plot(curves[0].steps[:length], mean, color=COLORS[algo], label=label)
    axis.set_title(f"{LABELS[algo]}, {curves[0].env}")
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
