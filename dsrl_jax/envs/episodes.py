"""Starts and ends episodes of environments with Brax's interface, on the device.

Brax's own wrappers return to the first start state after every episode, replace an episode's last
observation by the first one of the next episode, and report a time limit as a termination. Here
every episode samples a new start state, the last observation is kept, and a time limit is a
truncation.

In the shape descriptions, `M` is the number of members, `E` the number of environments of each.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.envs.brax import Environment


class Episodes(NamedTuple):
    """The running episode of every environment.

    state: the environments' states, with leaves [M, E, …]
    number: number of earlier episodes in this environment
    length: number of steps so far
    total: sum of rewards so far
    """

    state: Any
    number: Int[Array, "M E"]
    length: Int[Array, "M E"]
    total: Float[Array, "M E"]


class Outcome(NamedTuple):
    """The result of a step of every environment.

    terminated: whether the environment itself ended the episode
    truncated: whether only the time limit ended it
    next_observation: of the same episode, even if it ended
    total: sum of the episode's rewards, including this step's
    length: number of the episode's steps, including this one
    """

    reward: Float[Array, "M E"]
    terminated: Bool[Array, "M E"]
    truncated: Bool[Array, "M E"]
    next_observation: Float[Array, "M E observation"]
    total: Float[Array, "M E"]
    length: Int[Array, "M E"]


def start(environment: Environment, keys: PRNGKeyArray, num_envs: int) -> Episodes:
    """Starts the first episode of each environment.

    Args:
      keys: one for each member, [M]. An episode's start state depends only on its member's key, its
        environment and its number.
    """
    number = jnp.zeros((keys.shape[0], num_envs), jnp.int32)
    state = _reset(environment, keys, number)
    return Episodes(state, number, number, jnp.zeros(number.shape, jnp.float32))


def step(
    environment: Environment,
    episode_length: int,
    keys: PRNGKeyArray,
    episodes: Episodes,
    action: Float[Array, "M E action"],
) -> tuple[Episodes, Outcome]:
    """Takes a step of every environment, and starts the next episode of those that ended.

    Args:
      episode_length: the time limit, in steps.
      keys: the keys given to `start`.
    """
    state = strong(jax.vmap(jax.vmap(environment.step))(episodes.state, action))
    reward, length = state.reward.astype(jnp.float32), episodes.length + 1
    terminated = state.done > 0
    truncated = (length >= episode_length) & ~terminated
    ended = terminated | truncated
    total = episodes.total + reward
    outcome = Outcome(reward, terminated, truncated, state.obs, total, length)
    number = episodes.number + ended

    def start_next(state: Any) -> Any:
        def where_ended(new: Array, old: Array) -> Array:
            over_leaf = ended.reshape(*ended.shape, *[1] * (old.ndim - 2))
            return jnp.where(over_leaf, new.astype(old.dtype), old)

        return jax.tree.map(where_ended, _reset(environment, keys, number), state)

    # One branch for all environments, as most steps end no episode.
    state = lax.cond(ended.any(), start_next, lambda state: state, state)
    length, total = jnp.where(ended, 0, length), jnp.where(ended, 0.0, total)
    return Episodes(state, number, length, total), outcome


def observe(episodes: Episodes) -> Float[Array, "M E observation"]:
    """Returns the current observations, float32."""
    return episodes.state.obs.astype(jnp.float32)


def strong(tree: Any) -> Any:
    """Returns the same arrays with dtypes that are not weak.

    JAX would compile a loop twice if its first state had weak types and its result had not.
    """
    return jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), tree)


def _reset(environment: Environment, keys: PRNGKeyArray, number: Int[Array, "M E"]) -> Any:
    """Samples the start states of the episodes with these numbers."""

    def reset_one(member_key: PRNGKeyArray, index: Array, number: Array) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(member_key, index), number)
        return environment.reset(jax.random.key_data(key))  # Brax takes raw keys.

    indices = jnp.arange(number.shape[1])
    reset = jax.vmap(jax.vmap(reset_one, (None, 0, 0)), (0, None, 0))
    return strong(reset(keys, indices, number))
