"""Small environments with Brax's interface, usable by name: "tests.toy_brax:PointMass"."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class State(NamedTuple):
    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class PointMass:
    """A mass on a line, pushed by a force in [-1, 1]; terminates where it leaves (-1, 1).

    Only the start is random. The best is to stay at 0, where each step pays 1.
    """

    observation_size, action_size = 2, 1

    def __init__(self, backend="generalized"):
        del backend  # There is one simulator.

    def reset(self, rng):
        limits = jnp.array([0.8, 0.2])
        start = jax.random.uniform(rng, (2,), minval=-limits, maxval=limits)
        return State(start, jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        position, velocity = state.obs
        velocity = velocity + 0.1 * action[0]
        position = position + velocity
        reward = 1 - jnp.abs(position)
        done = jnp.where(jnp.abs(position) >= 1, 1.0, 0.0)
        return State(jnp.stack([position, velocity]), reward, done)


class NanReward(PointMass):
    """A point mass with a reward of NaN at the third step of an episode."""

    def reset(self, rng):
        state = super().reset(rng)
        return state._replace(obs=jnp.append(state.obs, 0.0))

    def step(self, state, action):
        count = state.obs[2] + 1
        moved = super().step(state._replace(obs=state.obs[:2]), action)
        reward = jnp.where(count == 3, jnp.nan, moved.reward)
        return moved._replace(obs=jnp.append(moved.obs, count), reward=reward)


class Image(PointMass):
    def reset(self, rng):
        return super().reset(rng)._replace(obs=jnp.zeros((4, 4)))


class Growing(PointMass):
    """A step returns another kind of state than a reset."""

    def step(self, state, action):
        return super().step(state, action)._replace(done=jnp.zeros((), bool))
