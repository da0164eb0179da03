"""Reads the paper's digitised curves: Figures 1, 3 and 4 (results/paper/curves.csv)."""

import csv
import functools
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.paper.figures import STEPS
from experiments.run_dir.metrics import learning_curve_area

PATH = Path(__file__).parents[2] / "results" / "paper" / "curves.csv"

# Section 4.4: an evaluation every 5,000 steps.
PERIOD = 5_000


class Curve(NamedTuple):
    """Mean and deviation over the paper's seeds, by environment step."""

    steps: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def at(self, step: int) -> tuple[float, float]:
        """Returns mean and deviation at the last evaluation up to a step."""
        place = int(np.searchsorted(self.steps, step, side="right")) - 1
        return float(self.mean[place]), float(self.deviation[place])

    def until(self, step: int) -> "Curve":
        """Returns the curve up to a step."""
        shown = self.steps <= step
        return Curve(self.steps[shown], self.mean[shown], self.deviation[shown])

    def area(self, until: int) -> float:
        """Returns the LCA of the evaluations up to a step, which is at least `PERIOD`."""
        return learning_curve_area(self.until(until).mean.tolist(), min(until, STEPS), PERIOD)


@functools.cache
def read_curves() -> dict[tuple[str, str, str], Curve]:
    """Returns all curves by figure, task and algorithm; none if the file is missing."""
    if not PATH.exists():
        return {}
    found = defaultdict(list)
    with PATH.open(newline="") as file:
        for row in csv.DictReader(file):
            point = [float(row[name]) for name in ("env_step", "return_mean", "return_std")]
            found[row["figure"], row["env"], row["algo"]].append(point)
    return {key: Curve(*np.array(points).T) for key, points in found.items()}
