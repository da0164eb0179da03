"""What a loop remembers of its evaluations."""

from typing import Any, NamedTuple

import jax
import numpy as np

from dsrl_jax.training.program import Program
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.update import Carry


class History(NamedTuple):
    """Trees of NumPy arrays, [members, …].

    first_masks: before the first update
    masks: those at the last evaluation, from which the next one's churn is counted
    best: each member's policy at its highest mean return so far, the earlier of equal ones;
      `Progress.best_return` and `best_step` belong to it
    """

    first_masks: Any
    masks: Any
    best: Any


def begin(program: Program, carry: Carry) -> History:
    """Before the first evaluation."""
    masks = program.masks(carry.state)
    return History(masks, masks, program.policy(carry.state))


def remember(
    program: Program,
    carry: Carry,
    progress: Progress,
    returns: np.ndarray,
    earlier: History,
) -> History:
    """What to remember after an evaluation of mean returns [members]; notes the best in progress.

    The masks of the last evaluation are needed until its rows are made: call this after.
    """
    better = returns > progress.best_return

    def choose(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    progress.best_return = np.where(better, returns, progress.best_return)
    progress.best_step = np.where(better, progress.env_step, progress.best_step)
    best = jax.tree.map(choose, program.policy(carry.state), earlier.best)
    return History(earlier.first_masks, program.masks(carry.state), best)
