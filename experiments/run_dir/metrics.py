"""The paper's measures of a learning curve (Section 4.3)."""

from collections.abc import Sequence
from typing import NamedTuple


class Score(NamedTuple):
    """One seed's learning curve in three numbers."""

    final: float  # mean return of the last evaluation
    last10: float  # mean of the last ten evaluations, or of all there are
    learning_curve_area: float


def score(steps: Sequence[int], returns: Sequence[float], eval_period: int) -> Score:
    """Scores the mean returns of all evaluations, by their steps, the one at step 0 included.

    The area leaves out what is between two periods: a run's end, or where it ended at first.
    """
    last = returns[-10:]
    pairs = zip(steps, returns, strict=True)
    regular = {step: value for step, value in pairs if step % eval_period == 0}
    area = learning_curve_area(list(regular.values()), max([*regular, eval_period]), eval_period)
    return Score(returns[-1], sum(last) / len(last), area)


def learning_curve_area(returns: Sequence[float], steps: int, eval_period: int) -> float:
    """LCA (eq. 9), in the paper's unit: the sum of the mean returns over the number of steps.

    The paper's period of 5,000 steps is the unit for other periods.
    """
    return sum(returns) / steps * (eval_period / 5_000)


def steps_to_reach(steps: Sequence[int], returns: Sequence[float], target: float) -> int | None:
    """The step of the first evaluation that passes `target`; None where none does.

    With a method's mean curve and dense training's final mean: "steps to dense" (Section 4.5).
    """
    pairs = zip(steps, returns, strict=True)
    return next((int(step) for step, value in pairs if value > target), None)
