"""Draws learning curves: `python -m experiments.plot RUN_DIR... --output=FILE.png`.

Shows each method's seeds, their mean and deviation, with the paper's curve if it has one for the
method with these settings. RUN_DIR may be a folder of run directories.
"""

import importlib.util
import sys
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.cli.command import start
from experiments.cli.flags import HELP, Flag, define, help_text, parse
from experiments.cli.values import UsageError
from experiments.report.curves import draw_over_paper, find_limits
from experiments.report.groups import Group, group
from experiments.report.read import read_runs
from experiments.run_dir.state import read_rows

# The pictures of a finished run.
NAMES = ("curve.png", "degrees.png")
MOST_IN_A_ROW = 4
# Characters in a line of a title.
TITLE_WIDTH = 40


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status."""
    values = flags.FlagValues()
    output = "file of the picture: png, pdf or svg; default: curves.png"
    define(values, "plot", [Flag("output", str, "curves.png", output), HELP])
    try:
        directories = parse(values, arguments, stray=True)
        if values.help:
            print(__doc__ + help_text(values))
            return 0
        if not directories:
            raise UsageError("name one or more run directories: python -m experiments.plot DIR...")
        runs, notes = read_runs([Path(name) for name in directories])
        draw(group(runs), Path(values.output))
    except BrokenPipeError:  # `command.start` ends the command.
        raise
    except (OSError, ValueError) as error:  # The picture's folder or format may not exist.
        print(f"error: {error}", file=sys.stderr)
        return 2
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(values.output)
    return 0


def is_drawn(directory: Path) -> bool:
    """Returns whether a run has its pictures, or they cannot be drawn."""
    can_draw = importlib.util.find_spec("matplotlib") is not None
    return not can_draw or all((directory / name).exists() for name in NAMES)


def draw_run(directory: Path) -> str:
    """Draws a run's pictures; returns a line with their names, or with what is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        return "no pictures without matplotlib: pip install -e '.[plots]'"
    runs, _ = read_runs([directory])
    own = [run for run in runs if run.directory == directory]  # There may be others below it.
    draw(group(own), directory / NAMES[0])
    draw_degrees(directory, directory / NAMES[1])
    return f"pictures: {', '.join(NAMES)}"


def draw(groups: Sequence[Group], output: Path) -> None:
    """Draws learning curves to a file. Raises OSError or ValueError if it cannot be written."""
    from matplotlib import pyplot

    figure = make_figure(groups)
    figure.savefig(output)
    pyplot.close(figure)


def make_figure(groups: Sequence[Group]) -> Any:
    """Returns a figure with a panel for each method (by all of its settings) and length."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(groups), MOST_IN_A_ROW)
    rows = -(-len(groups) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 3.4 * rows), squeeze=False, dpi=110
    )
    one_task = len({shown.method.where for shown in groups}) == 1
    limits = find_limits(groups)
    for axis, shown in zip(grid.flat, groups, strict=False):
        draw_over_paper(axis, shown, neutral="black")
        axis.set_title(_title(shown, groups))
        axis.set_xlabel("environment steps")
        axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
        axis.legend(loc="best", frameon=False)
        if one_task:
            axis.set_ylim(*limits)
    for axis in grid[:, 0]:
        axis.set_ylabel("return")
    for axis in grid.flat[len(groups) :]:
        axis.remove()
    figure.tight_layout()
    return figure


def _title(shown: Group, groups: Sequence[Group]) -> str:
    """Returns method and task; also the length if the method has several."""
    several = sum(shown.method == other.method for other in groups) > 1
    length = f", {shown.length:,} steps" if several else ""
    return textwrap.fill(f"{shown.method.label}, {shown.method.where}{length}", TITLE_WIDTH)


def draw_degrees(directory: Path, output: Path) -> None:
    """Draws each input's connections over time: a row for each seed, a column for each network."""
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
