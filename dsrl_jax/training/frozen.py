"""Members whose numbers are not finite are not trained any more, and the others go on.

Where a run is not to end for them: `finite.py` has what ends one. When a member was frozen follows
from its numbers alone, so that a run that was stopped goes on exactly.
"""

import numpy as np

from dsrl_jax.training.progress import Progress
from dsrl_jax.training.rows import Row
from dsrl_jax.training.update import Carry, mark_frozen


def freeze_transitions(transition: tuple[np.ndarray, ...], progress: Progress) -> None:
    """Freezes members with an observation or reward that is not finite, in place.

    What a frozen member adds to the replay is a step that led nowhere.
    """
    observation, _, reward, terminated, truncated, following = transition
    finite = np.isfinite(following).all(axis=1) & np.isfinite(reward)
    progress.freeze(~finite, progress.env_step)
    frozen = ~progress.trains
    following[frozen] = observation[frozen]
    for values in (reward, terminated, truncated):
        values[frozen] = 0


def freeze_updates(carry: Carry, progress: Progress) -> Carry:
    """Freezes members whose loss, or whose next action, is not finite; the carry knows of all."""
    progress.freeze(np.asarray(carry.bad_update) > 0, progress.env_step)
    progress.freeze(~np.isfinite(progress.action).all(axis=1), progress.env_step)
    progress.action[~progress.trains] = 0
    return tell_carry(carry, progress)


def tell_carry(carry: Carry, progress: Progress) -> Carry:
    """Lets updates leave all members alone that are frozen, whatever for."""
    # Asked at every step: no little program is called for what the carry knows.
    if progress.trains.all() or (progress.trains | (np.asarray(carry.bad_update) != 0)).all():
        return carry
    return carry._replace(bad_update=mark_frozen(~progress.trains, carry.bad_update))


def tell_frozen(seeds: tuple[int, ...], progress: Progress, before: np.ndarray) -> list[Row]:
    """A row of `kind` "note" for each member that was frozen since it was as `before`."""
    return [
        {
            "kind": "note",
            "env_step": progress.env_step,
            "text": f"member {member}, seed {seeds[member]}, is frozen since step "
            f"{progress.frozen[member]:,}: its numbers are not finite",
        }
        for member in np.flatnonzero(~progress.trains & (before < 0)).tolist()
    ]
