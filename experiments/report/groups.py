"""Groups runs: the seeds of a method that have the same length."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.report.methods import Method
from experiments.report.read import Run
from experiments.report.statistics import Sample, describe


class Group(NamedTuple):
    """The runs of a method that are meant to have the same length.

    Figures count its finished runs. If there are none, they count all runs with finite numbers, up
    to the step that all of these have reached.
    """

    method: Method
    length: int
    runs: tuple[Run, ...]  # every one, by seed

    @property
    def counted(self) -> tuple[Run, ...]:
        """The runs that figures count."""
        sound = [run for run in self.runs if not run.broke_down]
        return tuple(run for run in sound if run.is_whole) or tuple(sound) or self.runs

    @property
    def broken(self) -> int:
        """How many runs broke down; figures do not show these."""
        return sum(run.broke_down for run in self.runs)

    @property
    def reached(self) -> int:
        """The step that figures describe."""
        return min(min(run.reached for run in self.counted), self.length)

    @property
    def is_whole(self) -> bool:
        """Whether a run is finished."""
        return self.reached >= self.length

    def values(self, measure: str) -> np.ndarray:
        """Returns a measure of `metrics.Score` by its name, an entry per seed."""
        return np.array([getattr(run.score(self.reached), measure) for run in self.counted])

    def sample(self, measure: str) -> Sample:
        """Returns mean and deviation of a measure over the seeds."""
        return describe(self.values(measure))

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the steps at which all seeds were evaluated, and the returns `[seeds, steps]`."""
        runs = self.counted
        common = sorted(set.intersection(*(set(run.steps.tolist()) for run in runs)))
        kept = np.array([step for step in common if step <= self.reached])
        return kept, np.array([run.returns[np.isin(run.steps, kept)] for run in runs])


def group(runs: Iterable[Run]) -> list[Group]:
    """Groups runs by method and length, in the paper's order."""
    found: dict[tuple[Method, int], list[Run]] = {}
    for run in runs:
        found.setdefault((run.method, run.length), []).append(run)
    groups = [Group(method, length, tuple(seeds)) for (method, length), seeds in found.items()]
    return sorted(groups, key=lambda group: (group.method.order, group.length))
