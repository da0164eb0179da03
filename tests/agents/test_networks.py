"""First weights, and which layers are sparse how."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.agents import networks, td3
from dsrl_jax.agents.config import TD3Config
from dsrl_jax.agents.types import Spaces
from tests import reference
from tests.agents.cases import hidden_kernels, layers, leaves, quick_jit

N_STATE, N_ACTION = 17, 6
HALF_CHEETAH = Spaces(N_STATE, (-1.0,) * N_ACTION, (1.0,) * N_ACTION)

init = quick_jit(partial(td3.init, HALF_CHEETAH))


@pytest.fixture(scope="module")
def state():
    """The first state of DS-TD3 with the paper's settings on HalfCheetah."""
    return init(jax.random.key(0), TD3Config())


@pytest.fixture(scope="module")
def dense_state():
    """The same of TD3."""
    return init(jax.random.key(0), TD3Config(topology="dense"))


# --- First weights -------------------------------------------------------------------------------


def test_weights_are_uniform_within_one_over_the_root_of_the_inputs(dense_state):
    for net, first in [(dense_state.actor, N_STATE), (dense_state.critic, N_STATE + N_ACTION)]:
        for path, leaf in leaves(net.params).items():
            bound = (first if "hidden_0" in path else 256) ** -0.5
            assert (np.abs(leaf) <= np.float32(bound)).all(), path
            if leaf.size < 100:
                continue
            # The mean gap to each bound is 2 * bound / (n + 1); ten times that is as good as never.
            gap = 20 * bound / leaf.size
            assert leaf.min() < -bound + gap and leaf.max() > bound - gap, path
            # Four standard errors of a uniform variable's mean and standard deviation.
            error = 4 / leaf.size**0.5
            assert abs(leaf.mean()) < error * bound / math.sqrt(3), path
            assert abs(leaf.std() * math.sqrt(3) / bound - 1) < error, path


def test_sparse_weights_are_the_dense_ones_on_the_mask(state, dense_state):
    """Their bound is by the dense layer's inputs, not by the connections that are left."""
    for net, dense in [(state.actor, dense_state.actor), (state.critic, dense_state.critic)]:
        masks, dense_params = leaves(net.masks), leaves(dense.params)
        for path, leaf in leaves(net.params).items():
            assert np.array_equal(leaf, np.where(masks[path], dense_params[path], 0)), path


def test_network_is_the_references(rng, state):
    inputs = rng.normal(size=(2, N_STATE)).astype(np.float32)
    expected = reference.mlp(layers(state.actor.params), inputs)
    actual = networks.MLP((256, 256), N_ACTION).apply({"params": state.actor.params}, inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_twins_differ_in_every_layer(state):
    first, second = (leaves(critic) for critic in state.critic.params.values())
    assert first.keys() == second.keys()
    for path in first:
        assert (first[path] != second[path]).any(), path


def test_targets_start_as_the_networks(state):
    for target, net in [(state.target_actor, state.actor), (state.target_critic, state.critic)]:
        params = leaves(net.params)
        for path, leaf in leaves(target).items():
            assert np.array_equal(leaf, params[path]), path


# --- First topology ------------------------------------------------------------------------------


def test_sparse_layers_are_the_hidden_kernels_alone(state):
    """All but the output layer and the biases (Section 4.4), in actor and critics."""
    sparse = {
        path
        for net in (state.actor, state.critic)
        for path, mask in leaves(net.masks).items()
        if not mask.all()
    }
    kernels = ("hidden_0/kernel", "hidden_1/kernel")
    assert sparse == {
        f"{network}{kernel}" for network in ("", "critic_1/", "critic_2/") for kernel in kernels
    }


def test_a_dense_network_has_no_sparse_layer(dense_state):
    for net in (dense_state.actor, dense_state.critic):
        assert all(mask.all() for mask in leaves(net.masks).values())


@pytest.mark.parametrize(
    "path, lam",
    [
        ("hidden_0/kernel", 3.0),
        ("hidden_1/kernel", 5.0),
        ("hidden_2/kernel", 5.0),
        ("hidden_10/kernel", 5.0),
        ("critic_1/hidden_0/kernel", 3.0),
        ("critic_2/hidden_1/kernel", 5.0),
    ],
)
def test_lambda1_is_of_the_first_hidden_layer_and_lambda2_of_the_others(path, lam):
    config = TD3Config(lambda1=3.0, lambda2=5.0)
    expected = pytest.approx(reference.density(20, 30, lam))
    assert networks.hidden_density(config, path, (20, 30)) == expected
    traced = jax.tree.map(jnp.array, config)  # as members that differ in it have it
    assert networks.hidden_density(traced, path, (20, 30)) == expected


# FACTS: 106169 connections of 214784 weights, of actor and critics, output layers included.
EXPECTED = {
    "actor": 7 * (17 + 256) + 64 * (256 + 256),
    "critic": 2 * (7 * (23 + 256) + 64 * (256 + 256)),
}


def hidden_connections(net):
    return sum(int(mask.sum()) for mask in hidden_kernels(net.masks).values())


def test_first_masks_have_the_expected_connections_on_average(state):
    assert sum(EXPECTED.values()) + 256 * (6 + 2) == 106169
    for name, net in [("actor", state.actor), ("critic", state.critic)]:
        size = sum(mask.size for mask in hidden_kernels(net.masks).values())
        standard_deviation = math.sqrt(size / 4)  # at most, of independent draws
        assert 0 < abs(hidden_connections(net) - EXPECTED[name]) < 4 * standard_deviation


def test_first_masks_have_exactly_the_expected_connections_if_asked():
    exact = init(jax.random.key(0), TD3Config(connection_count="exact"))
    for name, net in [("actor", exact.actor), ("critic", exact.critic)]:
        assert hidden_connections(net) == EXPECTED[name]
