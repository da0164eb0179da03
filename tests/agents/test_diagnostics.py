"""Tests topology measurements on networks made by hand, and against slow counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.agents import diagnostics as inspection
from dsrl_jax.agents import sac, td3
from dsrl_jax.agents.types import Spaces, Transition
from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.settings import override

SPACES = Spaces(2, (-1.0,), (1.0,))
SMALL = {"hidden_sizes": (4, 3), "lambda1": 0.7, "lambda2": 0.8}
AGENTS = {"td3": (td3, TD3Config), "sac": (sac, SACConfig)}
inspect = jax.jit(inspection.inspect, static_argnums=0)


def batch_of(observation):
    observation = jnp.asarray(observation, jnp.float32)
    size = len(observation)
    return Transition(observation, jnp.zeros((size, 1)), jnp.zeros(size), jnp.zeros(size), None)


@pytest.fixture(params=AGENTS)
def start(request, key):
    """A config, its first state and its masks."""
    agent, config_class = AGENTS[request.param]
    config = override(config_class(), SMALL)
    state = agent.init(SPACES, key, config)
    return config, state, inspection.all_masks(state)


def test_every_layer_of_every_network_is_measured(start):
    config, state, masks = start
    found = inspect(SPACES, config, state, masks, masks, batch_of([[1, 2]]))
    heads = set(config.ACTOR_HEADS)
    assert {name: set(layers) for name, layers in found.items()} == {
        "actor": {"hidden_0", "hidden_1"} | heads,
        "critic_1": {"hidden_0", "hidden_1", "output"},
        "critic_2": {"hidden_0", "hidden_1", "output"},
    }


def test_counts_are_the_masks(start, rng):
    config, state, masks = start
    first, earlier = (
        jax.tree.map(lambda mask: jnp.asarray(rng.random(mask.shape) < 0.5), masks)
        for _ in range(2)
    )
    found = inspect(SPACES, config, state, first, earlier, batch_of(rng.normal(size=(5, 2))))
    for network, layers in found.items():
        for name, layer in layers.items():
            mask, old, other = (
                np.asarray(tree[network][name]["kernel"]) for tree in (masks, first, earlier)
            )
            n_in, n_out = mask.shape
            positions = [(i, j) for i in range(n_in) for j in range(n_out) if mask[i, j]]
            some = max(len(positions), 1)
            assert layer.connections == len(positions)
            assert layer.units == n_out
            assert layer.churn == pytest.approx(sum(not other[p] for p in positions) / some)
            assert layer.overlap == pytest.approx(sum(old[p] for p in positions) / some)
            degrees = [sum(i == row for row, _ in positions) for i in range(n_in)]
            assert layer.input_degrees.tolist() == degrees


def with_actor(state, **kernels):
    """The state with other kernels and zero biases in its actor."""
    params = jax.tree.map(jnp.zeros_like, state.actor.params)
    for name, kernel in kernels.items():
        params[name]["kernel"] = jnp.asarray(kernel, jnp.float32)
    return state._replace(actor=state.actor._replace(params=params))


def test_dormant_units_of_a_network_made_by_hand(start):
    config, state, masks = start
    state = with_actor(
        state,
        # Of the units: the first fires for the second sample, the second has no weight, the third
        # fires for none, the fourth for the first.
        hidden_0=[[-1, 0, 0, 1], [1, 0, -1, 0]],
        # The first is fed by units that never fire, the second by the fourth, the third by none.
        hidden_1=[[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 2, 0]],
    )
    batch = batch_of([[1, 0], [0, 1]])
    layers = inspect(SPACES, config, state, masks, masks, batch)["actor"]
    found = {
        name: (int(layer.units_without_input), int(layer.units_inactive), int(layer.dormant_units))
        for name, layer in layers.items()
    }
    assert found["hidden_0"] == (1, 2, 2)
    assert found["hidden_1"] == (1, 2, 2)
    for head in config.ACTOR_HEADS:
        assert found[head] == (1, 0, 0)


def test_a_unit_with_a_bias_fires_without_input_and_is_dormant_all_the_same(start):
    config, state, masks = start
    state = with_actor(state)
    state.actor.params["hidden_0"]["bias"] = jnp.array([1.0, 0.0, 0.0, 0.0])
    layer = inspect(SPACES, config, state, masks, masks, batch_of([[1, 1]]))["actor"]["hidden_0"]
    assert (layer.units_without_input, layer.units_inactive, layer.dormant_units) == (4, 3, 4)
