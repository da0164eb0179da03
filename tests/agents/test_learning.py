"""Every method learns to steer a point from random transitions, in seconds."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from dsrl_jax.agents.types import Spaces, Transition
from dsrl_jax.config.agents import TD3Config
from dsrl_jax.config.checks import validate
from dsrl_jax.config.presets import ALGORITHMS
from dsrl_jax.config.settings import override
from tests.agents.cases import MODULES, PRESETS, quick_jit

SPACES = Spaces(2, (-1.0, -0.4), (3.0, 0.4))
LOW, HIGH = jnp.array(SPACES.action_low), jnp.array(SPACES.action_high)
EPISODE = 10  # steps, then a time limit
STARTS = 256
TRANSITIONS = 5000
UPDATES = 3000


def move(position, action):
    """One step in the square [-1, 1]^2, with the best position in its center.

    The reward is of the position that is left: an action pays only later, through the target.
    """
    return jnp.clip(position + action / 4, -1.0, 1.0), -jnp.sum(position**2, axis=-1)


def shortest_way(position):
    """The best policy: straight to 0 in each dimension, as far as the bounds allow."""
    return jnp.clip(-4 * position, LOW[None], HIGH[None])


def mean_return(policy):
    """Over many starts, of whole episodes."""
    starts = jax.random.uniform(jax.random.key(1), (STARTS, 2), minval=-1, maxval=1)
    _, rewards = lax.scan(
        lambda position, _: move(position, policy(position)), starts, length=EPISODE
    )
    return rewards.sum(axis=0).mean()


def random_transitions(key):
    key_position, key_action = jax.random.split(key)
    position = jax.random.uniform(key_position, (TRANSITIONS, 2), minval=-1, maxval=1)
    share = jax.random.uniform(key_action, (TRANSITIONS, 2))
    action = LOW[None] + share * (HIGH - LOW)[None]
    next_position, reward = move(position, action)
    return Transition(position, action, reward, jnp.zeros(TRANSITIONS), next_position)


@quick_jit
def learn(key, config):
    """The returns of the first policy and of the one after all updates."""
    key_init, key_data, key_batches, key_updates = jax.random.split(key, 4)
    replay, agent = random_transitions(key_data), MODULES[type(config)]

    def train(state, step):
        key_batch = jax.random.fold_in(key_batches, step)
        rows = jax.random.randint(key_batch, (config.batch_size,), 0, TRANSITIONS)
        batch = jax.tree.map(lambda column: column[rows], replay)
        return agent.update(SPACES, key_updates, config, state, batch, step)[0], None

    first = agent.init(SPACES, key_init, config)
    last, _ = lax.scan(train, first, jnp.arange(1, UPDATES + 1))
    return [mean_return(partial(agent.act, SPACES, config, state)) for state in (first, last)]


SMALL = {
    "hidden_sizes": (32, 32),
    "batch_size": 64,
    "discount": 0.9,
    "lambda1": 1.0,  # 17 of 32 connections of the actor's first layer, 9 of 32 of a critic's
    "lambda2": 8.0,  # a half of the second
    "drop_fraction": 0.05,
    "adaptation_period": 50,
}
# SAC as in Appendix A, with copies often enough for a short run.
SMALL_OF_AGENT = {
    "td3": {"tau": 0.02},
    "sac": {"learning_rate": 1e-3, "target_period": 50, "temperature": 0.02},
}


def small_config(algo, **settings):
    config, topology = ALGORITHMS[algo]
    small = SMALL | SMALL_OF_AGENT["td3" if config is TD3Config else "sac"]
    made = override(config(), {"topology": topology, **small, **settings})
    validate(made)
    return made


def share_of_the_way(config):
    """How far the return comes from the first policy's, 0, to the best one's, 1."""
    first, last = learn(jax.random.key(0), config)
    best = mean_return(shortest_way)
    assert first < 3 * best  # Returns are negative.
    return (last - first) / (best - first)


# What the authors' code does otherwise concerns sparse networks: dense ones have one preset.
@pytest.mark.parametrize(
    "algo, preset",
    [
        *product(["td3", "sac", "static_td3", "static_sac"], ["paper"]),
        *product(["ds_td3", "ds_sac"], PRESETS),
    ],
)
def test_comes_near_the_best_policy(algo, preset):
    """Six seeds of TD3's methods came at least 0.84 of the way, three of SAC and DS-SAC 0.93."""
    assert 0.8 < share_of_the_way(small_config(algo, **PRESETS[preset])) <= 1


def test_a_dense_actor_and_critics_that_grow_by_gradient_come_near_too():
    config = small_config("ds_td3", actor_topology="dense", critic_topology="rigl")
    assert 0.8 < share_of_the_way(config) <= 1


@pytest.mark.parametrize("algo", ["td3", "sac"])
def test_learns_nothing_without_the_target(algo):
    """The task needs the target: only the target contains the reward of an action."""
    assert share_of_the_way(small_config(algo, discount=0.0)) < 0.5
