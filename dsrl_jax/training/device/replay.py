"""Replay on the device: a float32 ring of transitions, as pure functions.

The ring is `[members, capacity, columns]`; a row is observation, action, reward, terminated, next
observation, as `program.unpack` reads it. The number of transitions that each member has added is
not part of it: it follows from the step and is the same for all members.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrl_jax.agents.types import Spaces

Rows = Float[Array, "members capacity columns"]


def count_columns(spaces: Spaces) -> int:
    """Returns how many numbers a row has."""
    return 2 * spaces.observation_size + spaces.action_size + 2


def make_ring(members: int, capacity: int, spaces: Spaces) -> Rows:
    """Returns an empty ring."""
    # Algorithm 1, line 5; Algorithm 4, line 5
    return jnp.zeros((members, capacity, count_columns(spaces)), jnp.float32)


def pack(
    observation: Float[Array, "members n observation"],
    action: Float[Array, "members n action"],
    reward: Float[Array, "members n"],
    terminated: Array,
    next_observation: Float[Array, "members n observation"],
) -> Float[Array, "members n columns"]:
    """Returns transitions as rows; `next_observation` is the true one, also if an episode ends."""
    flags = jnp.stack([reward, terminated.astype(jnp.float32)], axis=-1)
    return jnp.concatenate([observation, action, flags, next_observation], -1, dtype=jnp.float32)


def add(rows: Rows, new: Float[Array, "members n columns"], added: Int[Array, ""]) -> Rows:
    """Overwrites the oldest `n` rows of each member; in place if `rows` is donated.

    Args:
      added: how many rows each member has added before; `n` divides it and the capacity, so that
        the new rows are contiguous.
    """
    return lax.dynamic_update_slice_in_dim(rows, new, added % rows.shape[1], axis=1)


def sample(
    keys: PRNGKeyArray, rows: Rows, added: Int[Array, ""], update: Int[Array, ""], batch_size: int
) -> Float[Array, "members batch columns"]:
    """Samples a batch for each member, uniformly from its transitions, with replacement.

    Args:
      keys: one for each member; what is drawn follows from it, `update` and `added`.
    """
    size = jnp.minimum(added, rows.shape[1])

    def one(key: PRNGKeyArray, rows: Array) -> Array:
        key_batch = jax.random.fold_in(key, update)
        return rows[jax.random.randint(key_batch, (batch_size,), 0, size)]

    return jax.vmap(one)(keys, rows)
