"""Aggregates normalised returns over tasks, and compares methods (Agarwal et al. 2021)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.paper.figures import STEPS
from experiments.report.document import Section, Table, number
from experiments.report.groups import Group
from experiments.report.paper_curves import read_curves
from experiments.report.statistics import (
    Interval,
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)
from experiments.report.tables import DENSE

# Before this step the paper's TD3 has learnt too little to divide by.
FIRST_STEP = 50_000


class Arm(NamedTuple):
    """Scores of one method at one training length, for every task on which it was trained."""

    label: str
    algo: str
    preset: str
    is_plain: bool  # it has the settings of its preset
    length: int
    reached: int
    scores: dict[str, np.ndarray]  # by environment, an entry per seed

    @property
    def steps(self) -> str:
        """Its steps, for people."""
        return f"{self.reached:,}" + ("" if self.reached >= self.length else f" of {self.length:,}")


def normalised(groups: Sequence[Group]) -> list[Arm]:
    """Returns final returns as shares of the paper's TD3 at the same step of the same task.

    Leaves out tasks that the paper does not have, and Brax.
    """
    arms: dict[tuple, Arm] = {}
    for group in groups:
        method = group.method
        dense = read_curves().get(("1", method.task, "td3"))
        usable = FIRST_STEP <= group.reached <= STEPS and method.backend != "brax"
        if dense is None or not usable:
            continue
        named = (method.label, method.algo, method.preset, not method.changes)
        # Seeds of a run that is extended count for each length.
        lengths = (group.length, group.reached)
        key = (method.algo, method.preset, method.changes, *lengths)
        arm = arms.setdefault(key, Arm(*named, *lengths, {}))
        arm.scores[method.where] = group.values("final") / dense.at(group.reached)[0]
    return list(arms.values())


def section(arms: Sequence[Arm]) -> Section:
    """Returns interquartile means and probabilities of improvement, with intervals."""
    text = (
        "Final returns as shares of the return that the paper's TD3 has at the same step of the "
        "same task (Figure 1): 1 is as good. Intervals are 95 % stratified bootstraps, which "
        "redraw seeds within each task. A task with a single seed has no interval, and with two or "
        "three seeds intervals are too narrow: a probability of 1, from 1 to 1, only means that "
        "all seeds of one method are above all seeds of the other."
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
                number(float(interquartile_mean(scores)), 3),
                _format(stratified_interval(interquartile_mean, scores)),
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
            same_steps = (dense.length, dense.reached) == (sparse.length, sparse.reached)
            is_its_dense = dense.algo == DENSE.get(sparse.algo) and dense.is_plain
            same_preset = dense.preset in (sparse.preset, "paper")
            if not (tasks and same_steps and is_its_dense and same_preset):
                continue
            both = [[arm.scores[task] for task in tasks] for arm in (sparse, dense)]
            rows.append(
                [
                    f"{sparse.label} over {dense.label}",
                    ", ".join(tasks),
                    sparse.steps,
                    number(float(probability_of_improvement(*both)), 2),
                    _format(stratified_interval(probability_of_improvement, *both), 2),
                ]
            )
    header = ("methods", "tasks", "steps", "probability", "95 % interval")
    return Table("Probability that a sparse run is better than a dense one", header, rows, words=2)


def _format(interval: Interval, digits: int = 3) -> str:
    if math.isnan(interval.low):
        return "–"
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}"
