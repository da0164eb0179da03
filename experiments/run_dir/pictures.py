"""The pictures that a finished run leaves, where matplotlib is installed."""

import importlib.util
from pathlib import Path

NAMES = ("curve.png", "degrees.png")


def are_drawn(directory: Path) -> bool:
    """Whether there is nothing left to draw."""
    can_draw = importlib.util.find_spec("matplotlib") is not None
    return not can_draw or all((directory / name).exists() for name in NAMES)


def draw(directory: Path) -> str:
    """Draws them; returns a line: which, or what it takes."""
    if importlib.util.find_spec("matplotlib") is None:
        return "no pictures without matplotlib: pip install -e '.[plots]'"
    from experiments import plot
    from experiments.report.groups import group
    from experiments.report.read import read_runs

    runs, _ = read_runs([directory])
    own = [run for run in runs if run.directory == directory]  # Others may lie below it.
    plot.draw(group(own), directory / "curve.png")
    plot.draw_degrees(directory, directory / "degrees.png")
    return f"pictures: {', '.join(NAMES)}"
