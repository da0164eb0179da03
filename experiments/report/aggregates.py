"""Figures over all tasks, and of pairs of methods (Agarwal et al. 2021)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.paper.figures import STEPS
from experiments.report.document import Section, Table, number
from experiments.report.methods import Group
from experiments.report.paper_curves import read_curves
from experiments.report.statistics import (
    Interval,
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)
from experiments.report.tables import DENSE

# Earlier the paper's TD3 has learnt nothing that others could be divided by.
FIRST_STEP = 50_000


class Arm(NamedTuple):
    """A method at one length, over all tasks that it was run on."""

    label: str
    algo: str
    preset: str
    is_plain: bool  # nothing differs from its preset
    length: int
    reached: int
    scores: dict[str, np.ndarray]  # by environment, an entry a seed

    @property
    def steps(self) -> str:
        """How far it is, for people."""
        return f"{self.reached:,}" + ("" if self.reached >= self.length else f" of {self.length:,}")


def normalised(groups: Sequence[Group]) -> list[Arm]:
    """Scores as shares of the return that the paper's TD3 has at the same step, per task.

    Tasks that the paper has not, Brax's among them, have none.
    """
    arms: dict[tuple, Arm] = {}
    for group in groups:
        method = group.method
        dense = read_curves().get(("1", method.task, "td3"))
        usable = FIRST_STEP <= group.reached <= STEPS and method.backend != "brax"
        if dense is None or not usable:
            continue
        named = (method.label, method.algo, method.preset, not method.changes)
        # By length too: a run that is being made longer has the seeds of one that is there.
        lengths = (group.length, group.reached)
        key = (method.algo, method.preset, method.changes, *lengths)
        arm = arms.setdefault(key, Arm(*named, *lengths, {}))
        arm.scores[method.where] = group.values("final") / dense.at(group.reached)[0]
    return list(arms.values())


def section(arms: Sequence[Arm]) -> Section:
    """Interquartile means with their intervals, and probabilities of improvement."""
    text = (
        "Final returns as shares of what the paper's TD3 has at the same step of the same task "
        "(Figure 1): 1 is as good. Intervals are 95 % stratified bootstraps: seeds are redrawn "
        "within each task; with a single seed on a task there is none, and with two or three it is "
        "too narrow: where all of one method's are above all of the other's, a probability of 1 "
        "from 1 to 1 says no more than that."
    )
    blocks = [_means(arms), _improvements(arms)]
    return Section("Over all tasks", text, [block for block in blocks if block.rows])


def _means(arms: Sequence[Arm]) -> Table:
    rows = []
    for arm in arms:
        scores = list(arm.scores.values())
        rows.append(
            [
                arm.label,
                ", ".join(arm.scores),
                arm.steps,
                str(sum(map(len, scores))),
                number(interquartile_mean(scores), 3),
                _tell(stratified_interval(interquartile_mean, scores)),
                number(float(np.mean([runs.mean() for runs in scores])), 3),
            ]
        )
    header = ("method", "tasks", "steps", "runs", "interquartile mean", "95 % interval", "mean")
    return Table("Normalised final returns", header, rows, words=2)


def _improvements(arms: Sequence[Arm]) -> Table:
    rows = []
    for sparse in arms:
        for dense in arms:
            tasks = [task for task in sparse.scores if task in dense.scores]
            if not tasks or not _is_dense_of(dense, sparse):
                continue
            both = [[arm.scores[task] for task in tasks] for arm in (sparse, dense)]
            rows.append(
                [
                    f"{sparse.label} over {dense.label}",
                    ", ".join(tasks),
                    sparse.steps,
                    number(probability_of_improvement(*both), 2),
                    _tell(stratified_interval(probability_of_improvement, *both), 2),
                ]
            )
    header = ("methods", "tasks", "steps", "probability", "95 % interval")
    return Table("Probability that a sparse run is better than a dense one", header, rows, words=2)


def _is_dense_of(dense: Arm, sparse: Arm) -> bool:
    return (
        (dense.length, dense.reached) == (sparse.length, sparse.reached)
        and dense.algo == DENSE.get(sparse.algo)
        and dense.preset in (sparse.preset, "paper")
        and dense.is_plain
    )


def _tell(interval: Interval, digits: int = 3) -> str:
    if math.isnan(interval.low):
        return "–"
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}"
