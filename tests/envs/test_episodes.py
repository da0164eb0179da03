"""How episodes on the device start, end and restart, in an environment made by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.envs import brax
from dsrl_jax.envs import episodes as envs
from tests.envs.refusal import refusal
from tests.toy_brax import PointMass

KEYS = jax.random.split(jax.random.key(3), 2)
ENVS, LIMIT, STEPS = 3, 8, 40


@pytest.fixture(scope="module")
def played():
    """Observations before each step, and outcomes, of pushes to one side or none."""
    environment = PointMass()
    step = jax.jit(partial(envs.step, environment, LIMIT, KEYS))
    episodes = jax.jit(partial(envs.start, environment, KEYS, ENVS))()
    pushes = jnp.broadcast_to(jnp.array([0.0, 0.5, 1.0])[None, :, None], (2, ENVS, 1))
    steps = []
    for _ in range(STEPS):
        before = episodes
        episodes, outcome = step(episodes, pushes)
        steps.append(jax.device_get((before, outcome)))
    return steps


def start_of(member, place, number):
    key = jax.random.fold_in(jax.random.fold_in(KEYS[member], place), number)
    return np.asarray(PointMass().reset(jax.random.key_data(key)).obs)


def test_the_start_of_an_episode_follows_from_member_environment_and_number(played):
    seen = {}
    for before, _ in played:
        for member, place in np.argwhere(before.length == 0):
            number = int(before.number[member, place])
            seen[member, place, number] = before.state.obs[member, place]
    assert len({tuple(start) for start in seen.values()}) == len(seen) > 2 * ENVS * 4
    for place, start in seen.items():
        np.testing.assert_allclose(start, start_of(*map(int, place)), rtol=1e-6)


def test_the_last_observation_is_the_episodes_own(played):
    for before, outcome in played:
        position, velocity = np.moveaxis(outcome.next_observation, -1, 0)
        np.testing.assert_allclose(position, before.state.obs[..., 0] + velocity, atol=1e-6)
        np.testing.assert_array_equal(outcome.terminated, np.abs(position) >= 1)


def test_a_time_limit_truncates_and_only_what_has_not_ended(played):
    both = [0, 0]
    for before, outcome in played:
        at_limit = before.length == LIMIT - 1
        np.testing.assert_array_equal(outcome.truncated, at_limit & ~outcome.terminated)
        both[0] += outcome.truncated.sum()
        both[1] += outcome.terminated.sum()
    assert min(both) > 0


def test_an_environment_that_no_loop_can_step_raises():
    message = refusal(brax.make, "tests.toy_brax:Growing")
    assert "state.done is float32[] after reset and bool[] after step" in message
    assert "must be a vector, got shape (4, 4)" in refusal(brax.make, "tests.toy_brax:Image")
