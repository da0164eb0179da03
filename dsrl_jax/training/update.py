"""One update of all members: what is summed, and what becomes of losses that are not finite.

Both training loops make their updates by it.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from dsrl_jax.agents.types import Agent, Metrics, State, Transition
from dsrl_jax.config.settings import flatten, override
from dsrl_jax.training.member_axis import axes_of, over_members


class Carry(NamedTuple):
    """What a step takes and gives back; leaves have a first axis of members, but see `Compact`."""

    state: State
    sums: Metrics  # each metric's sum since it was last read
    # The first update with a loss that is not finite; 0 before, or -1 where a member was frozen for
    # what is not the update's.
    bad_update: Int[Array, " members"]


def update_members(
    agent: Agent,
    members: int,
    keys: PRNGKeyArray,
    config: Any,
    carry: Carry,
    batch: Transition,
    update: Int[Array, ""],
    *,
    freeze_nonfinite: bool = False,
) -> Carry:
    """One update of each member by its own batch, and what is told of it later.

    Args:
      freeze_nonfinite: whether members that have a `bad_update` are left as they are, and those
        that get one here are cleared, see `compile_program`.
    """
    if freeze_nonfinite:
        config, batch = _still(carry.bad_update != 0, config, batch)
    state, metrics = over_members(agent.update, (0, axes_of(config), 0, 0, None), members)(
        keys, config, carry.state, batch, update
    )
    finite = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))), axis=0)
    first = ~finite & (carry.bad_update == 0)
    bad_update = jnp.where(first, update, carry.bad_update)
    if freeze_nonfinite:
        clear = partial(_clear, ~finite)
        state = jax.lax.cond(finite.all(), lambda state: state, clear, state)
    sums = {name: carry.sums[name] + value for name, value in metrics.items()}
    return Carry(state, sums, bad_update)


def mark_frozen(
    members: Bool[Array, " members"] | Bool[np.ndarray, " members"],
    bad_update: Int[Array, " members"],
) -> Int[Array, " members"]:
    """`Carry.bad_update` after members were frozen for what is not an update's."""
    return jnp.where(members & (bad_update == 0), -1, bad_update)


def _still(frozen: Array, config: Any, batch: Transition) -> tuple[Any, Transition]:
    """Settings and transitions with which an update leaves the weights of frozen members alone.

    Scalars alone: a select of old or new states would make every update of all a third dearer.
    """
    numbers = ("learning_rate", "tau", "drop_fraction")
    held = {name: value for name, value in flatten(config).items() if name in numbers}
    stopped = {name: jnp.where(frozen, 0, value) for name, value in held.items()}
    return override(config, stopped), jax.tree.map(partial(_zero_if, frozen), batch)


def _clear(members: Array, state: State) -> State:
    """The state with 0 for every float of some members: what is not finite would spoil searches."""

    def clear(leaf: Array) -> Array:
        return _zero_if(members, leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(clear, state)


def _zero_if(members: Array, leaf: Array) -> Array:
    return jnp.where(members.reshape(-1, *[1] * (leaf.ndim - 1)), jnp.zeros_like(leaf), leaf)
