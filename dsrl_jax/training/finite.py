"""Numbers that are not finite end a run, with one line that says where they came from."""

import numpy as np

from dsrl_jax.training.member_update import Carry
from dsrl_jax.training.progress import Progress


class NotFiniteError(ArithmeticError):
    """A loss, an action, a reward or an observation that is not a finite number."""


def check_transition(
    transition: tuple[np.ndarray, ...], progress: Progress, seeds: tuple[int, ...]
) -> None:
    """Holds the observation and the reward of a step to be finite. Raises NotFiniteError."""
    _, _, reward, _, _, following = transition
    for name, values in (("observation", following), ("reward", reward[:, None])):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            seed = seeds[int(np.argmin(finite))]
            raise NotFiniteError(f"seed {seed}, step {progress.env_step}: {name} is not finite")


def check_action(carry: Carry, progress: Progress, seeds: tuple[int, ...]) -> None:
    """Holds the next action to be finite; looks for a loss first. Raises NotFiniteError."""
    if not np.isfinite(progress.action).all():
        check_losses(carry, seeds)
        member = int(np.argmin(np.isfinite(progress.action).all(axis=1)))
        raise NotFiniteError(f"seed {seeds[member]}, step {progress.env_step}: action not finite")


def check_losses(carry: Carry, seeds: tuple[int, ...]) -> None:
    """Holds every loss so far to be finite. Raises NotFiniteError."""
    for seed, update in zip(seeds, np.asarray(carry.bad_update).tolist(), strict=True):
        if update:
            raise NotFiniteError(f"seed {seed}, update {update}: a loss is not finite")


def check_returns(returns: np.ndarray, progress: Progress, seeds: tuple[int, ...]) -> None:
    """Holds the returns of an evaluation, [members, episodes], finite. Raises NotFiniteError."""
    finite = np.isfinite(returns).all(axis=1)
    if not finite.all():
        seed = seeds[int(np.argmin(finite))]
        raise NotFiniteError(
            f"seed {seed}, evaluation at step {progress.env_step}: a return is not finite"
        )
