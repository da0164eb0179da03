"""Numbers that are not finite end a run, with one line that says where they came from."""

import numpy as np

from dsrl_jax.training.progress import Progress
from dsrl_jax.training.update import Carry


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
            who = name_member(int(np.argmin(finite)), seeds)
            raise NotFiniteError(f"{who}, step {progress.env_step}: {name} is not finite")


def check_action(carry: Carry, progress: Progress, seeds: tuple[int, ...]) -> None:
    """Holds the next action to be finite; looks for a loss first. Raises NotFiniteError."""
    if not np.isfinite(progress.action).all():
        check_losses(carry, seeds)
        who = name_member(int(np.argmin(np.isfinite(progress.action).all(axis=1))), seeds)
        raise NotFiniteError(f"{who}, step {progress.env_step}: an action is not finite")


def check_losses(carry: Carry, seeds: tuple[int, ...]) -> None:
    """Holds every loss so far to be finite. Raises NotFiniteError."""
    for member, update in enumerate(np.asarray(carry.bad_update).tolist()):
        if update:
            who = name_member(member, seeds)
            raise NotFiniteError(f"{who}, update {update}: a loss is not finite")


def check_returns(returns: np.ndarray, progress: Progress, seeds: tuple[int, ...]) -> None:
    """Holds the returns of an evaluation, [members, episodes], finite. Raises NotFiniteError."""
    finite = np.isfinite(returns).all(axis=1)
    if not finite.all():
        who = name_member(int(np.argmin(finite)), seeds)
        raise NotFiniteError(
            f"{who}, evaluation at step {progress.env_step}: a return is not finite"
        )


def name_member(member: int, seeds: tuple[int, ...]) -> str:
    """A member by its seed, and by its place where several have that seed."""
    seed = f"seed {seeds[member]}"
    return seed if seeds.count(seeds[member]) == 1 else f"member {member}, {seed}"
