"""Tests TD3's equations, its noise, and whole updates against `reference.py`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.agents import td3
from tests import reference
from tests.agents.cases import (
    HALF_RANGE,
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
    update,
)
from tests.agents.reference_net import ReferenceNet, assert_net_is, assert_trees_close

CASES = 8
# Sums of at most 40 float32 products of normal numbers.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}

td_target = quick_jit(lambda key, *rest: td3.td_target(key, SPACES, *rest))
critic_loss = quick_jit(td3.critic_loss)
actor_loss = quick_jit(lambda params, *rest: td3.actor_loss(params, SPACES, *rest))
explore = quick_jit(partial(td3.explore, SPACES))
act = quick_jit(partial(td3.act, SPACES))


def policy(actor, observation):
    """The reference's network, rescaled from (-1, 1) to the bounds."""
    squashed = np.tanh(reference.mlp(layers(actor), observation))
    return LOW + (squashed + 1) / 2 * (HIGH - LOW)


# --- Equations -----------------------------------------------------------------------------------


def cases(rng):
    """(config, state of four unrelated networks, batch)."""
    for _ in range(CASES):
        config = small_config(
            discount=rng.uniform(0.5, 1),
            target_noise=rng.uniform(0, 1),
            target_noise_clip=rng.uniform(0.1, 1),
        )
        yield config, random_state(rng, config), random_batch(rng)


def test_policy_is_the_references(rng):
    for config, state, batch in cases(rng):
        expected = policy(state.actor.params, batch.observation)
        np.testing.assert_allclose(act(config, state, batch.observation), expected, **CLOSE)
        np.testing.assert_allclose(act(config, state, batch.observation[0]), expected[0], **CLOSE)


def test_td_target_is_the_references(rng, key):
    draws = np.asarray(jax.random.normal(key, (5, 2)))
    for config, state, batch in cases(rng):
        action = reference.smoothed_target_action(
            policy(state.target_actor.params, batch.next_observation),
            config.target_noise * HALF_RANGE * draws,
            config.target_noise_clip * HALF_RANGE,
            LOW,
            HIGH,
        )
        next_q = q_values(state.target_critic.params, batch.next_observation, action)
        expected = reference.td_target(batch.reward, batch.terminated, *next_q, config.discount)
        np.testing.assert_allclose(td_target(key, config, state, batch), expected, **CLOSE)


def test_critic_loss_is_the_references(rng):
    for config, state, batch in cases(rng):
        target = rng.normal(size=5).astype(np.float32)
        q = q_values(state.critic.params, batch.observation, batch.action)
        loss, q_mean = critic_loss(state.critic.params, config, target, batch)
        np.testing.assert_allclose(loss, reference.critic_loss(*q, target), **CLOSE)
        np.testing.assert_allclose(q_mean, np.mean(q), **CLOSE)


def test_actor_loss_is_only_of_the_first_critic(rng):
    for config, state, batch in cases(rng):
        action = policy(state.actor.params, batch.observation)
        first, second = q_values(state.critic.params, batch.observation, action)
        loss = actor_loss(state.actor.params, config, state.critic.params, batch)
        np.testing.assert_allclose(loss, -first.mean(), **CLOSE)
        assert abs(loss + second.mean()) > 1e-3


def test_bootstraps_through_time_limits_and_not_through_terminations(rng, key):
    for config, state, batch in cases(rng):
        ended = batch._replace(terminated=jnp.ones(5))
        goes_on = batch._replace(terminated=jnp.zeros(5))  # so does one cut by a time limit
        reward = np.asarray(batch.reward)
        assert np.array_equal(td_target(key, config, state, ended), reward)
        assert (np.asarray(td_target(key, config, state, goes_on)) != reward).all()


# --- Noise ---------------------------------------------------------------------------------------

MANY = 4000


def reading_critics(critics, dimension):
    """Returns critics with one dimension of the action as value: ReLU(a) - ReLU(-a)."""
    critics = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), critics)
    for critic in critics.values():
        critic["hidden_0"]["kernel"][SPACES.observation_size + dimension, :2] = 1, -1
        critic["hidden_1"]["kernel"][[0, 1], [0, 1]] = 1
        critic["output"]["kernel"][:2, 0] = 1, -1
    return critics


def smoothed_actions(key, config, state, next_observation):
    """The target's actions as its critics see them, `[batch, action]`."""
    nothing = np.zeros(len(next_observation), np.float32)
    batch = td3.Transition(None, None, nothing, nothing, next_observation)
    return np.stack(
        [
            td_target(
                key,
                config,
                state._replace(
                    target_critic=state.target_critic._replace(
                        params=reading_critics(state.target_critic.params, dimension)
                    )
                ),
                batch,
            )
            for dimension in range(SPACES.action_size)
        ],
        axis=1,
    )


@pytest.fixture
def many_observations(rng):
    return rng.normal(size=(MANY, SPACES.observation_size)).astype(np.float32)


def assert_fill_the_bounds(actions):
    actions = np.asarray(actions)
    assert ((actions >= np.float32(LOW)) & (actions <= np.float32(HIGH))).all()
    assert np.array_equal(actions.min(axis=0), np.float32(LOW))
    assert np.array_equal(actions.max(axis=0), np.float32(HIGH))


def test_explored_actions_stay_inside_the_bounds(key, many_observations):
    config = small_config(exploration_noise=5.0)
    actions = explore(key, config, first_state(key, config), many_observations)
    assert_fill_the_bounds(actions)


def test_target_actions_stay_inside_the_bounds(key, many_observations):
    config = small_config(target_noise=5.0, target_noise_clip=9.0, discount=1.0)
    actions = smoothed_actions(key, config, first_state(key, config), many_observations)
    assert_fill_the_bounds(actions)


def assert_is_normal(noise, scale):
    """Independent in every entry, of the given scale; bounds hold at four standard errors."""
    noise = np.asarray(noise) / scale
    n_samples = len(noise)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=4 / n_samples**0.5)
    np.testing.assert_allclose(noise.std(axis=0), 1, atol=4 / (2 * n_samples) ** 0.5)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / n_samples**0.5


def test_exploration_noise_scales_with_the_half_range(key, many_observations):
    config = small_config(exploration_noise=0.01)
    state = first_state(key, config)
    noise = explore(key, config, state, many_observations) - act(config, state, many_observations)
    assert_is_normal(noise, 0.01 * HALF_RANGE)


def test_target_noise_scales_with_the_half_range(key, many_observations):
    config = small_config(target_noise=0.01, target_noise_clip=1.0, discount=1.0)
    state = first_state(key, config)  # Its targets equal the online networks.
    actions = smoothed_actions(key, config, state, many_observations)
    assert_is_normal(actions - act(config, state, many_observations), 0.01 * HALF_RANGE)


def test_target_noise_is_clipped_in_half_ranges(key, many_observations):
    config = small_config(target_noise=5.0, target_noise_clip=0.03, discount=1.0)
    state = first_state(key, config)
    actions = smoothed_actions(key, config, state, many_observations)
    noise = (actions - np.asarray(act(config, state, many_observations))) / HALF_RANGE
    np.testing.assert_allclose(noise.min(axis=0), -0.03, atol=1e-6)
    np.testing.assert_allclose(noise.max(axis=0), 0.03, atol=1e-6)


def test_without_noise_explores_as_it_acts(key, many_observations):
    config = small_config(exploration_noise=0.0)
    state = first_state(key, config)
    explored = explore(key, config, state, many_observations)
    assert np.array_equal(explored, act(config, state, many_observations))


# --- Whole updates -------------------------------------------------------------------------------


def reference_update(config, actor, critic, batch, step):
    """Algorithm 1, lines 11 to 28, without noise and adaptation; returns the metrics."""
    next_action = policy(actor.target, batch.next_observation)
    next_q = q_values(critic.target, batch.next_observation, next_action)
    target = reference.td_target(batch.reward, batch.terminated, *next_q, config.discount)

    def critic_loss(params):
        return reference.critic_loss(*q_values(params, batch.observation, batch.action), target)

    def actor_loss(params):
        action = policy(params, batch.observation)
        return -q_values(critic.params, batch.observation, action)[0].mean()

    metrics = {
        "critic_loss": critic_loss(critic.params),
        "q_mean": np.mean(q_values(critic.params, batch.observation, batch.action)),
        "actor_loss": 0.0,
    }
    critic.descend(critic_loss)
    if step % config.policy_delay == 0:
        metrics["actor_loss"] = config.policy_delay * actor_loss(actor.params)
        actor.descend(actor_loss)
        critic.follow()
        actor.follow()
    return metrics


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize(
    "topology, preset", [("dense", "paper"), ("static", "paper"), ("static", "official")]
)
def test_updates_are_the_references(topology, preset, seed):
    """Gradients by differences, hence in float64; a step is 1e-2, and 1e-6 a small share of it."""
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    config = small_config(
        preset,
        topology=topology,
        hidden_sizes=(4, 3),
        lambda2=1.0,
        learning_rate=1e-2,
        weight_decay=1e-2,
        tau=0.3,
        target_noise=0.0,
    )
    first = first_state(key, config)
    with jax.enable_x64(True):
        state = as_float64(first)
        actor, critic = ReferenceNet(state.actor, config), ReferenceNet(state.critic, config)
        for step in range(1, 5):
            batch = random_batch(rng, dtype=np.float64)
            expected = reference_update(config, actor, critic, batch, step)
            state, metrics = update(key, config, state, batch, step)

            assert_trees_close(metrics, expected, atol=1e-6)
            for net, known in [(state.actor, actor), (state.critic, critic)]:
                assert_net_is(net, known)
            assert_trees_close(state.target_actor.params, actor.target, atol=1e-6)
            assert_trees_close(state.target_critic.params, critic.target, atol=1e-6)
