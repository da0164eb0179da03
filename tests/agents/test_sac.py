"""Tests SAC's equations and policy against `reference.py` and integrated densities."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.agents import sac
from dsrl_jax.agents.types import Spaces
from tests import reference
from tests.agents.cases import (
    HIGH,
    LOW,
    SPACES,
    as_float64,
    first_state,
    layers,
    q_values,
    quick_jit,
    random_batch,
    random_state,
    small_config,
)

CASES = 8
# In double precision: a density's logarithm is sensitive where an action is near its bound.
CLOSE = {"rtol": 1e-8, "atol": 1e-8}

soft_target = quick_jit(lambda key, *rest: sac.soft_target(key, SPACES, *rest))
critic_loss = quick_jit(sac.critic_loss)
actor_loss = quick_jit(lambda params, key, *rest: sac.actor_loss(params, key, SPACES, *rest))
sample = quick_jit(lambda key, *rest: sac.sample(key, *rest), static_argnums=2)
explore = quick_jit(partial(sac.explore, SPACES))
act = quick_jit(partial(sac.act, SPACES))


# --- Equations -----------------------------------------------------------------------------------


@pytest.fixture
def cases(rng):
    """(config, state of three unrelated networks, batch), in float64."""
    with jax.enable_x64(True):
        yield [random_case(rng) for _ in range(CASES)]


def random_case(rng):
    numbers = {"discount": rng.uniform(0.5, 1), "temperature": rng.uniform(0.05, 2)}
    config = small_config(agent="sac", **numbers)
    return config, as_float64(random_state(rng, config)), random_batch(rng, dtype=np.float64)


def reference_sample(actor, observation, noise):
    mean, log_std = (
        reference.mlp(layers(actor, head), observation) for head in ("mean", "log_std")
    )
    return reference.squashed_sample(mean, log_std, np.asarray(noise), LOW, HIGH)


def draws(key):
    return jax.random.normal(key, (5, SPACES.action_size))


def test_actions_and_their_log_probabilities_are_the_references(cases, key):
    for config, state, batch in cases:
        actor = state.actor.params
        expected = reference_sample(actor, batch.observation, draws(key))
        action, log_probability = sample(key, actor, SPACES, config, batch.observation)
        np.testing.assert_allclose(action, expected[0], **CLOSE)
        np.testing.assert_allclose(log_probability, expected[1], **CLOSE)
        assert np.array_equal(explore(key, config, state, batch.observation), action)


def test_soft_target_is_the_references(cases, key):
    """Of the online policy: SAC has no target actor."""
    for config, state, batch in cases:
        action, log_probability = reference_sample(
            state.actor.params, batch.next_observation, draws(key)
        )
        next_q = q_values(state.target_critic.params, batch.next_observation, action)
        expected = reference.soft_target(
            batch.reward,
            batch.terminated,
            *next_q,
            log_probability,
            config.discount,
            config.temperature,
        )
        np.testing.assert_allclose(soft_target(key, config, state, batch), expected, **CLOSE)


def test_soft_target_takes_the_temperature_that_is_learned(cases, key):
    config, state, batch = cases[0]
    learned = sac.Temperature(jnp.log(3.0), state.temperature.opt_state)
    by_state = soft_target(key, config, state._replace(temperature=learned), batch)
    at_once = small_config(agent="sac", temperature=3.0, discount=config.discount)
    by_config = soft_target(
        key, at_once, state._replace(temperature=first_state(key, at_once).temperature), batch
    )
    np.testing.assert_allclose(by_state, by_config, **CLOSE)
    assert np.abs(by_state - soft_target(key, config, state, batch)).max() > 0.1


def test_critic_loss_is_the_references(cases, rng):
    for config, state, batch in cases:
        target = rng.normal(size=5)
        q = q_values(state.critic.params, batch.observation, batch.action)
        loss, q_mean = critic_loss(state.critic.params, config, target, batch)
        np.testing.assert_allclose(loss, reference.critic_loss(*q, target), **CLOSE)
        np.testing.assert_allclose(q_mean, np.mean(q), **CLOSE)


def test_actor_loss_is_the_references(cases, key):
    first_is_smaller = []
    for config, state, batch in cases:
        actor, critics = state.actor.params, state.critic.params
        action, log_probability = reference_sample(actor, batch.observation, draws(key))
        q = q_values(critics, batch.observation, action)
        expected = reference.sac_actor_loss(log_probability, *q, config.temperature)
        loss, entropy = actor_loss(actor, key, config, critics, config.temperature, batch)
        np.testing.assert_allclose(loss, expected, **CLOSE)
        np.testing.assert_allclose(entropy, -log_probability.mean(), **CLOSE)
        first_is_smaller += (q[0] < q[1]).tolist()
    assert set(first_is_smaller) == {False, True}  # neither critic is always the smaller one


def test_bootstraps_through_time_limits_and_not_through_terminations(cases, key):
    for config, state, batch in cases:
        ended = batch._replace(terminated=jnp.ones(5))
        goes_on = batch._replace(terminated=jnp.zeros(5))  # so does one cut by a time limit
        reward = np.asarray(batch.reward)
        assert np.array_equal(soft_target(key, config, state, ended), reward)
        assert (np.asarray(soft_target(key, config, state, goes_on)) != reward).all()


# --- The policy's density ------------------------------------------------------------------------

# One dimension between bounds that are not -1 and 1, nor about 0.
ONE = Spaces(3, (-0.5,), (2.5,))
CENTER, SCALE = 1.0, 1.5
POLICIES = [(0.0, 0.0), (0.4, -1.0), (-0.8, 0.3), (0.1, -3.0)]  # mean, log_std before tanh


def cumulative(action, mean, log_std):
    """P(a <= action) of a = CENTER + SCALE tanh(normal): tanh is monotonic."""
    before = math.atanh((action - CENTER) / SCALE)
    return (1 + math.erf((before - mean) / math.exp(log_std) / math.sqrt(2))) / 2


def density(actions, mean, log_std):
    """The agent's, at given actions, in float64."""
    squashed = (actions[:, None] - CENTER) / SCALE
    noise = (np.arctanh(squashed) - mean) / math.exp(log_std)
    with jax.enable_x64(True):
        log_std = jnp.full(squashed.shape, log_std)
        return np.exp(sac.log_density(jnp.asarray(noise), log_std, jnp.asarray(squashed), ONE))


@pytest.mark.parametrize("mean, log_std", POLICIES)
def test_density_integrates_to_1(mean, log_std):
    actions = CENTER + SCALE * np.tanh(np.linspace(-9, 9, 20001))
    # The 1e-6 in the logarithm takes from where tanh is flat: less than 1e-3 of these policies.
    assert np.trapezoid(density(actions, mean, log_std), actions) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("mean, log_std", POLICIES)
def test_density_is_the_derivative_of_the_distribution(mean, log_std):
    """Whose differences know nothing of a change of variables."""
    actions, step = np.linspace(-0.4, 2.4, 50), 1e-5
    slope = [
        (cumulative(action + step, mean, log_std) - cumulative(action - step, mean, log_std))
        / (2 * step)
        for action in actions
    ]
    np.testing.assert_allclose(density(actions, mean, log_std), slope, rtol=1e-4, atol=1e-6)


def constant_policy(key, mean, log_std):
    """Params of an actor that gives the same distribution for every observation."""
    config = small_config(agent="sac", hidden_sizes=(8,))
    shapes = jax.eval_shape(partial(sac.init, ONE), key, config).actor.params
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    for head, value in (("mean", mean), ("log_std", log_std)):
        params[head]["bias"] = jnp.full(1, value)
    return config, params


@pytest.mark.parametrize("mean, log_std", POLICIES)
def test_samples_have_the_density_that_comes_with_them(key, mean, log_std):
    n_samples, step = 20_000, 1e-5
    config, params = constant_policy(key, mean, log_std)
    actions, log_probability = sample(key, params, ONE, config, np.zeros((n_samples, 3)))
    actions = np.asarray(actions, np.float64)[:, 0]

    # Kolmogorov and Smirnov: the distance passes 2 / sqrt(n) in one of 1000 cases.
    inside = np.sort(actions)
    expected = [cumulative(action, mean, log_std) for action in inside]
    assert np.abs(expected - (np.arange(n_samples) + 0.5) / n_samples).max() < 2 / n_samples**0.5

    middle = np.abs(actions - CENTER) < 0.99 * SCALE
    assert middle.mean() > 0.7
    for action, log_density in list(zip(actions[middle], log_probability[middle], strict=True))[
        :200
    ]:
        below, above = (cumulative(action + side, mean, log_std) for side in (-step, step))
        assert float(log_density) == pytest.approx(math.log((above - below) / (2 * step)), abs=2e-3)


# --- Acting --------------------------------------------------------------------------------------


def test_acts_as_the_squashed_mean_within_the_bounds(cases):
    for config, state, batch in cases:
        mean = reference.mlp(layers(state.actor.params, "mean"), batch.observation)
        expected = LOW + (np.tanh(mean) + 1) / 2 * (HIGH - LOW)
        np.testing.assert_allclose(act(config, state, batch.observation), expected, **CLOSE)
        np.testing.assert_allclose(act(config, state, batch.observation[0]), expected[0], **CLOSE)


@pytest.mark.parametrize("size", [1.0, 100.0])
def test_actions_stay_inside_the_bounds(key, rng, size):
    config = small_config(agent="sac")
    state = random_state(rng, config)
    observations = size * rng.normal(size=(4000, SPACES.observation_size)).astype(np.float32)
    for actions in (act(config, state, observations), explore(key, config, state, observations)):
        # The last bit of center + half range is float32's.
        slack = 1e-6
        assert ((np.asarray(actions) >= LOW - slack) & (np.asarray(actions) <= HIGH + slack)).all()


def test_explores_with_the_key_and_each_observation_with_its_own_noise(key):
    config = small_config(agent="sac")
    state = first_state(key, config)
    observations = np.ones((50, SPACES.observation_size), np.float32)
    actions = explore(key, config, state, observations)
    assert len(np.unique(actions)) == actions.size
    assert np.array_equal(actions, explore(key, config, state, observations))
    assert (actions != explore(jax.random.key(1), config, state, observations)).all()


@pytest.mark.parametrize(
    "log_std, clipped", [(-50.0, -20.0), (-20.5, -20.0), (-19.5, -19.5), (1.5, 1.5), (2.5, 2.0)]
)
def test_the_logarithm_of_the_deviation_is_clipped(key, log_std, clipped):
    config, params = constant_policy(key, 0.0, log_std)
    _, found = sac.policy(params, ONE, config, np.zeros((1, 3)))
    assert found == clipped
