"""Brax's own environments: their names, and why its own wrappers are not used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.envs import brax
from tests.envs.refusal import refusal
from tests.toy_brax import PointMass

pytest.importorskip("brax")

# Brax advertises its successor, and uses what MuJoCo's JAX back-end deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

KEY = jax.random.PRNGKey(0)
LIMIT, ENVS = 4, 3


@pytest.fixture(autouse=True)
def broadcasting():
    """Brax broadcasts between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_names_of_brax_are_known_and_near_ones_suggested():
    assert brax.resolve_id("inverted_pendulum") == "inverted_pendulum"
    assert "mean inverted_pendulum" in refusal(brax.resolve_id, "invertd_pendulum")


def test_sizes_are_read_without_a_step():
    sizes = brax.read_sizes(brax.make("inverted_pendulum", "spring"))
    assert sizes == (4, (-1.0,), (1.0,))


def test_an_unknown_simulator_raises_one_line():
    assert "inverted_pendulum" in refusal(brax.make, "inverted_pendulum", "summer")


def test_the_wrapper_of_brax_breaks_episodes():
    """A time limit looks like a failure, the last observation is lost, all starts are the first."""
    from brax.envs.base import State
    from brax.envs.wrappers import training

    class WithInfo(PointMass):
        def reset(self, rng):
            toy = super().reset(rng)
            return State(toy.obs, toy.obs, toy.reward, toy.done, {}, {})

        def step(self, state, action):
            toy = super().step(state, action)
            return state.replace(pipeline_state=toy.obs, obs=toy.obs, done=toy.done)

    wrapped = training.wrap(WithInfo(), episode_length=LIMIT)
    step, states = jax.jit(wrapped.step), [wrapped.reset(jax.random.split(KEY, ENVS))]
    for _ in range(2 * LIMIT):
        states.append(step(states[-1], jnp.zeros((ENVS, 1))))
    for state in states[1:]:
        ended = np.asarray(state.done, bool)
        np.testing.assert_array_equal(state.obs[ended], states[0].obs[ended])
    limited = np.array([state.info["truncation"] * state.done for state in states[1:]])
    assert limited.any()
