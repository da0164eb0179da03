"""Losses, actions, rewards, observations and returns that are NaN or infinite.

They end a run with one line, or, with `Experiment.freeze_nonfinite`, they freeze the member that
has them and the other members continue. A frozen member has weights of 0 and is not trained any
more. When a member freezes follows from its numbers only, so that a resumed run is exact.

`Carry.bad_update` is how the compiled programs know it: the first update with a loss that is not
finite, -1 for a member frozen for another reason, else 0.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from dsrl_jax.agents.types import State, Transition
from dsrl_jax.config.presets import Experiment
from dsrl_jax.config.settings import flatten, override
from dsrl_jax.training.devices import fetch

# With these at 0 and a batch of zeros an update changes no weight and no mask.
_STEP_SIZES = ("learning_rate", "tau", "drop_fraction")


class NotFiniteError(ArithmeticError):
    """A loss, an action, a reward, an observation or a return is not finite."""


def exclude(
    experiment: Experiment,
    frozen: np.ndarray,
    bad: np.ndarray,
    what: str,
    when: str,
    number: int | np.ndarray,
    step: int | np.ndarray | None = None,
) -> np.ndarray:
    """Freezes members that have a NaN or infinite number, or ends the run.

    Args:
      frozen: int [members], the step at which each was frozen, or -1.
      bad: bool [members], whether each has such a number at this step.
      what, when, number: what is not finite and at which step, for the error message; `number` is
        one for all members, or an array [members].
      step: the environment step at which the members freeze; None: `number`.
    Returns:
      `frozen` after this step.
    Raises:
      NotFiniteError: for the first bad member, if the experiment does not freeze members.
    """
    if not bad.any():
        return frozen
    if experiment.freeze_nonfinite:
        return np.where(bad & (frozen < 0), number if step is None else step, frozen)
    member = int(np.argmax(bad))
    at = int(np.broadcast_to(number, bad.shape)[member])
    who = name_member(member, experiment.seeds)
    raise NotFiniteError(f"{who}, {when} {at}: {what} is not finite")


def exclude_losses(
    experiment: Experiment, frozen: np.ndarray, bad_update: np.ndarray, step: int | np.ndarray
) -> np.ndarray:
    """Calls `exclude` for losses; `step` is the environment step of each `bad_update`."""
    return exclude(experiment, frozen, bad_update > 0, "a loss", "update", bad_update, step)


def name_member(member: int, seeds: tuple[int, ...]) -> str:
    """Returns a member's name: its seed, and its number too if several members have that seed."""
    seed = f"seed {seeds[member]}"
    return seed if seeds.count(seeds[member]) == 1 else f"member {member}, {seed}"


def freeze_transition(frozen: np.ndarray, transition: tuple[np.ndarray, ...]) -> None:
    """Changes the transitions of frozen members, in place, to steps without motion or reward."""
    observation, _, reward, terminated, truncated, following = transition
    members = frozen >= 0
    following[members] = observation[members]
    for values in (reward, terminated, truncated):
        values[members] = 0


def mark_frozen(
    members: Bool[Array, " members"] | Bool[np.ndarray, " members"],
    bad_update: Int[Array, " members"],
) -> Int[Array, " members"]:
    """Returns `Carry.bad_update` with -1 for these members, if they have no bad update."""
    return jnp.where(members & (bad_update == 0), -1, bad_update)


def mark_frozen_if_new(frozen: np.ndarray, bad_update: Array) -> Array:
    """Calls `mark_frozen` only if that changes something, as the host calls this at each step."""
    members = frozen >= 0
    if not members.any() or fetch(bad_update)[members].all():
        return bad_update
    return mark_frozen(members, bad_update)


def hold(frozen: Array, config: Any, batch: Transition) -> tuple[Any, Transition]:
    """Returns settings and transitions with which an update does not change frozen members.

    Only scalars and the batch change: a select between old and new states would make every update
    of all members a third slower.
    """
    values = {name: value for name, value in flatten(config).items() if name in _STEP_SIZES}
    stopped = {name: jnp.where(frozen, 0, value) for name, value in values.items()}
    return override(config, stopped), jax.tree.map(partial(_zero_if, frozen), batch)


def clear(members: Array, state: State) -> State:
    """Sets every float of some members to 0; NaN would make the searches of others longer."""

    def clear_leaf(leaf: Array) -> Array:
        return _zero_if(members, leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(clear_leaf, state)


def _zero_if(members: Array, leaf: Array) -> Array:
    return jnp.where(members.reshape(-1, *[1] * (leaf.ndim - 1)), jnp.zeros_like(leaf), leaf)
