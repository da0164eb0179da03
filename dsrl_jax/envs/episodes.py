"""Episodes on the device: how environments with Brax's interface start, end and start again.

Brax's own wrappers return to the first start state after every episode, hand out the next
episode's observation as the last one of this, and end an episode at its time limit as if by its
own rules. Here every episode starts afresh, the true last observation is told, and a time limit is
a truncation.

In the shape descriptions, `M` is members and `E` the environments of each.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.envs.brax import Environment


class Episodes(NamedTuple):
    """The running episode of every environment."""

    state: Any  # the environments' own, [M, E, …]
    number: Int[Array, "M E"]  # episodes of this environment before this one
    length: Int[Array, "M E"]  # steps of it so far
    total: Float[Array, "M E"]  # rewards of it so far


class Outcome(NamedTuple):
    """What a step of every environment gave; the next observation is of the same episode."""

    reward: Float[Array, "M E"]
    terminated: Bool[Array, "M E"]  # the episode ended by its own rules
    truncated: Bool[Array, "M E"]  # the time limit ended it, and nothing else did
    next_observation: Float[Array, "M E observation"]
    total: Float[Array, "M E"]  # rewards of the episode up to this step
    length: Int[Array, "M E"]  # its steps up to this one


def start(environment: Environment, keys: PRNGKeyArray, num_envs: int) -> Episodes:
    """The first episode of each environment.

    Args:
      keys: one for each member, [M]; where an episode starts follows from its member's key, its
        environment and its number alone.
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
    """One step of every environment; where one ended an episode, its next one is started.

    Args:
      episode_length: the time limit, in steps.
      keys: as of `start`.
    """
    state = strong(_for_each(environment.step)(episodes.state, action))
    reward, length = state.reward.astype(jnp.float32), episodes.length + 1
    terminated = state.done > 0
    truncated = (length >= episode_length) & ~terminated
    ended = terminated | truncated
    total = episodes.total + reward
    outcome = Outcome(reward, terminated, truncated, state.obs, total, length)
    number = episodes.number + ended

    def start_again(state: Any) -> Any:
        fresh = _reset(environment, keys, number)
        return jax.tree.map(
            lambda new, old: _choose(ended, new.astype(old.dtype), old), fresh, state
        )

    # A branch of all environments together, not a select: most steps end no episode.
    state = lax.cond(ended.any(), start_again, lambda state: state, state)
    length, total = jnp.where(ended, 0, length), jnp.where(ended, 0.0, total)
    return Episodes(state, number, length, total), outcome


def observe(episodes: Episodes) -> Float[Array, "M E observation"]:
    """What the next actions answer, float32."""
    return episodes.state.obs.astype(jnp.float32)


def strong(tree: Any) -> Any:
    """The same arrays with dtypes that are no longer weak.

    A loop is compiled once more for a state whose weak types are not those of its own result.
    """
    return jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), tree)


def _reset(environment: Environment, keys: PRNGKeyArray, number: Int[Array, "M E"]) -> Any:
    def one(member: PRNGKeyArray, place: Array, number: Array) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(member, place), number)
        return environment.reset(jax.random.key_data(key))  # Brax's keys are of the raw kind.

    places = jnp.arange(number.shape[1])
    return strong(jax.vmap(jax.vmap(one, (None, 0, 0)), (0, None, 0))(keys, places, number))


def _for_each(function: Any) -> Any:
    return jax.vmap(jax.vmap(function))


def _choose(where: Bool[Array, "M E"], new: Array, old: Array) -> Array:
    return jnp.where(where.reshape(*where.shape, *[1] * (new.ndim - 2)), new, old)
