"""First weights, and which layers are sparse how."""

import math
from functools import partial

import jax
import numpy as np
import pytest

from dsrl_jax.agents import networks, td3
from dsrl_jax.agents.config import TD3Config
from dsrl_jax.agents.types import Spaces
from tests import reference
from tests.agents.cases import SPACES, hidden_kernels, leaves, quick_jit, small_config

N_IN = 17

init = quick_jit(partial(td3.init, SPACES))


@pytest.fixture(scope="module")
def wide():
    """A network with thousands of weights in each kernel, its first params, its layers' n_in."""
    network = networks.MLP((300, 200), 100)
    draw = quick_jit(partial(networks.init_network, network=network, n_in=N_IN))
    params = draw(jax.random.key(0))
    return network, params, {"hidden_0": N_IN, "hidden_1": 300, "output": 200}


@pytest.fixture(scope="module")
def half_cheetah():
    """The first state of the paper's networks."""
    spaces = Spaces(N_IN, (-1.0,) * 6, (1.0,) * 6)
    return quick_jit(partial(td3.init, spaces))(jax.random.key(0), TD3Config())


def test_weights_are_uniform_within_one_over_the_root_of_the_inputs(wide):
    _, params, n_in = wide
    for path, leaf in leaves(params).items():
        bound = n_in[path.split("/")[0]] ** -0.5
        assert (np.abs(leaf) <= np.float32(bound)).all(), path
        # The expected gap to each bound is 2 * bound / (n + 1); ten times that is as good as never.
        gap = 20 * bound / leaf.size
        assert leaf.min() < -bound + gap and leaf.max() > bound - gap, path
        # The standard errors of a uniform variable's mean and standard deviation, four times.
        assert abs(leaf.mean()) < 4 * bound / math.sqrt(3 * leaf.size), path
        np.testing.assert_allclose(leaf.std() * math.sqrt(3) / bound, 1, atol=4 / leaf.size**0.5)


def test_a_sparse_layer_starts_within_the_dense_layers_bound(half_cheetah):
    kernel = np.abs(half_cheetah.actor.params["hidden_1"]["kernel"])
    assert 0.999 / 16 < kernel.max() <= 1 / 16


def test_network_is_the_references(rng, wide):
    network, params, _ = wide
    inputs = rng.normal(size=(2, N_IN)).astype(np.float32)
    layers = [(layer["kernel"], layer["bias"]) for layer in params.values()]
    expected = reference.mlp(layers, inputs)
    actual = network.apply({"params": params}, inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_twins_differ_in_every_layer():
    state = init(jax.random.key(0), small_config())
    first, second = (leaves(critic) for critic in state.critic.params.values())
    assert first.keys() == second.keys()
    for path in first:
        assert (first[path] != second[path]).any(), path


def test_targets_start_as_the_networks():
    state = init(jax.random.key(0), small_config())
    for target, net in [(state.target_actor, state.actor), (state.target_critic, state.critic)]:
        for path, leaf in leaves(target).items():
            assert np.array_equal(leaf, leaves(net.params)[path]), path


def test_sparse_layers_are_the_hidden_kernels_alone():
    """All but the output layer and the biases (Section 4.4), in actor and critics."""
    state = init(jax.random.key(0), small_config())
    sparse = {
        path
        for net in (state.actor, state.critic)
        for path, mask in leaves(net.masks).items()
        if not mask.all()
    }
    layers = ("hidden_0/kernel", "hidden_1/kernel")
    assert sparse == {
        f"{prefix}{layer}" for prefix in ("", "critic_1/", "critic_2/") for layer in layers
    }


def test_a_dense_network_has_no_sparse_layer():
    state = init(jax.random.key(0), small_config(topology="dense"))
    for net in (state.actor, state.critic):
        assert all(mask.all() for mask in leaves(net.masks).values())
        assert all(leaf.all() for leaf in leaves(net.params).values())


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
    density = networks.hidden_density(config, path, (20, 30))
    assert density == pytest.approx(reference.density(20, 30, lam))


def test_first_masks_have_exactly_the_expected_connections_if_asked():
    config = small_config(connection_count="exact")
    state = init(jax.random.key(0), config)
    n_action = SPACES.action_size
    first = {
        "actor": round(reference.density(3, 8, config.lambda1) * 3 * 8),
        "critic": round(reference.density(3 + n_action, 8, config.lambda1) * (3 + n_action) * 8),
    }
    for name, net in [("actor", state.actor), ("critic", state.critic)]:
        for path, mask in hidden_kernels(net.masks).items():
            assert mask.sum() == (first[name] if "hidden_0" in path else 32), path


def test_first_masks_have_the_expected_connections_on_average(half_cheetah):
    masks = hidden_kernels(half_cheetah.actor.masks)
    for mask, density in zip(masks.values(), (7 * 273 / (17 * 256), 0.5), strict=True):
        standard_error = math.sqrt(density * (1 - density) / mask.size)
        assert abs(mask.mean() - density) < 4 * standard_error
