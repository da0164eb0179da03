"""One update of all members, and the sums that training rows are made of; for both back-ends."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from dsrl_jax.agents.types import Agent, Metrics, State, Transition
from dsrl_jax.training import nonfinite
from dsrl_jax.training.member_axis import axes_of, over_members


class Carry(NamedTuple):
    """What an update takes and returns; every leaf has a leading axis of members.

    state: of the agents
    sums: each metric's sum since the last training rows, float32 [members]
    bad_update: int32 [members], see `nonfinite`
    """

    state: State
    sums: Metrics
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
    """Updates each member by its own batch.

    Args:
      update: counts from 1; all members share it, so that branches on it stay branches.
      freeze_nonfinite: whether members with a `bad_update` stay as they are, and members that get
        one here are cleared.
    """
    if freeze_nonfinite:
        config, batch = nonfinite.hold(carry.bad_update != 0, config, batch)
    state, metrics = over_members(agent.update, (0, axes_of(config), 0, 0, None), members)(
        keys, config, carry.state, batch, update
    )
    finite = jnp.isfinite(jnp.stack(list(metrics.values()))).all(axis=0)
    if freeze_nonfinite:
        state = jax.lax.cond(
            finite.all(), lambda state: state, partial(nonfinite.clear, ~finite), state
        )
    bad_update = jnp.where(~finite & (carry.bad_update == 0), update, carry.bad_update)
    sums = {name: carry.sums[name] + value for name, value in metrics.items()}
    return Carry(state, sums, bad_update)
