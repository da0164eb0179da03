"""The paper's measures of a learning curve (Section 4.3)."""

from collections.abc import Sequence
from typing import NamedTuple


class Score(NamedTuple):
    """One seed's learning curve in three numbers."""

    final: float  # mean return of the last evaluation
    last10: float  # mean of the last ten evaluations, or of all if there are fewer
    learning_curve_area: float


def score(steps: Sequence[int], returns: Sequence[float], eval_period: int) -> Score:
    """Scores the mean returns of all evaluations, including the one at step 0.

    The area ignores evaluations between two periods: at a run's end, or at an earlier end before it
    was extended.
    """
    last = returns[-10:]
    pairs = zip(steps, returns, strict=True)
    regular = {step: value for step, value in pairs if step % eval_period == 0}
    area = learning_curve_area(list(regular.values()), max([*regular, eval_period]), eval_period)
    return Score(returns[-1], sum(last) / len(last), area)


def learning_curve_area(returns: Sequence[float], steps: int, eval_period: int) -> float:
    """Returns the LCA (eq. 9) in the paper's unit: the sum of mean returns over the steps.

    Other periods are scaled to the paper's 5,000 steps.
    """
    return sum(returns) / steps * (eval_period / 5_000)


def steps_to_reach(steps: Sequence[int], returns: Sequence[float], target: float) -> int | None:
    """Returns the step of the first evaluation above `target`; None if there is none.

    For a method's mean curve and dense training's final mean it is "steps to dense" (Section 4.5).
    """
    pairs = zip(steps, returns, strict=True)
    return next((int(step) for step, value in pairs if value > target), None)
