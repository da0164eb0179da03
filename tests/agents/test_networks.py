"""First weights, and which layers are sparse how."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.agents import networks, td3
from dsrl_jax.agents.layers import network_layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.settings import override
from dsrl_jax.config.sparsity import SparseConfig
from tests import reference
from tests.agents.cases import MODULES, hidden_kernels, layers, leaves, quick_jit, targets_of

N_STATE, N_ACTION = 17, 6
HALF_CHEETAH = Spaces(N_STATE, (-1.0,) * N_ACTION, (1.0,) * N_ACTION)


@quick_jit
def init(key, config):
    return MODULES[type(config)].init(HALF_CHEETAH, key, config)


@pytest.fixture(scope="module", params=[TD3Config, SACConfig], ids=["td3", "sac"])
def make_config(request):
    return request.param


@pytest.fixture(scope="module")
def state(make_config):
    """The first state of DS-TD3 and of DS-SAC with the paper's settings on HalfCheetah."""
    return init(jax.random.key(0), make_config())


@pytest.fixture(scope="module")
def dense_state(make_config):
    """The same of TD3 and SAC."""
    return init(jax.random.key(0), override(make_config(), {"topology": "dense"}))


# --- First weights -------------------------------------------------------------------------------


def test_weights_are_uniform_within_their_bounds(make_config, dense_state):
    """FACTS: TD3 by the inputs, biases too; SAC by Xavier, each head by its own size."""
    for net, first in [(dense_state.actor, N_STATE), (dense_state.critic, N_STATE + N_ACTION)]:
        for path, leaf in leaves(net.params).items():
            n_in = first if "hidden_0" in path else 256
            if make_config is SACConfig:
                if path.endswith("bias"):
                    assert not leaf.any(), path
                    continue
                bound = math.sqrt(6 / (n_in + leaf.shape[-1]))
            else:
                bound = n_in**-0.5
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
    params = state.actor.params
    heads = tuple(name for name in ("mean", "log_std", "output") if name in params)
    outputs = networks.MLP((256, 256), N_ACTION, heads).apply({"params": params}, inputs)
    for head, output in zip(heads, outputs, strict=True):
        expected = reference.mlp(layers(params, head), inputs)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


def test_sacs_actor_has_two_heads_and_its_temperature_is_the_configs():
    config = SACConfig(temperature=0.7, sparse=SparseConfig(topology="dense"))
    state = init(jax.random.key(0), config)
    assert state.actor.params.keys() == {"hidden_0", "hidden_1", "mean", "log_std"}
    for head in ("mean", "log_std"):
        assert state.actor.params[head]["kernel"].shape == (256, N_ACTION)
    mean, log_std = (state.actor.params[head]["kernel"] for head in ("mean", "log_std"))
    assert (mean != log_std).any()
    np.testing.assert_allclose(np.exp(state.temperature.log), 0.7, rtol=1e-6)


def test_twins_differ_in_every_layer(state):
    first, second = (leaves(critic) for critic in state.critic.params.values())
    assert first.keys() == second.keys()
    for path in first:
        is_zero = path.endswith("bias") and not first[path].any()  # SAC's
        assert is_zero or (first[path] != second[path]).any(), path


def test_targets_start_as_the_networks(state):
    for target, net in targets_of(state):
        params = leaves(net.params)
        for path, leaf in leaves(target).items():
            assert np.array_equal(leaf, params[path]), path


# --- First topology ------------------------------------------------------------------------------


def test_only_hidden_kernels_are_sparse(state):
    """All but the heads and the biases (Section 4.4), in actor and critics."""
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


# FACTS: connections of DS-TD3 and DS-SAC on HalfCheetah, and how the heads, dense, enter them.
def expected_connections(lambda1, lambda2):
    return {
        "actor": lambda1 * (17 + 256) + lambda2 * (256 + 256),
        "critic": 2 * (lambda1 * (23 + 256) + lambda2 * (256 + 256)),
    }


EXPECTED = {TD3Config: expected_connections(7, 64), SACConfig: expected_connections(12, 80)}
HEADS = {TD3Config: 256 * (6 + 2), SACConfig: 256 * (2 * 6 + 2)}
TOTAL = {TD3Config: 106169, SACConfig: 136436}


def hidden_connections(net):
    return sum(int(mask.sum()) for mask in hidden_kernels(net.masks).values())


def test_first_masks_have_the_expected_connections_on_average(make_config, state):
    expected = EXPECTED[make_config]
    assert sum(expected.values()) + HEADS[make_config] == TOTAL[make_config]
    for name, net in [("actor", state.actor), ("critic", state.critic)]:
        size = sum(mask.size for mask in hidden_kernels(net.masks).values())
        standard_deviation = math.sqrt(size / 4)  # at most, of independent draws
        assert 0 < abs(hidden_connections(net) - expected[name]) < 4 * standard_deviation


def test_first_masks_have_exactly_each_layers_density_if_asked(make_config):
    """Layer by layer, where no two densities are equal and one layer has no room for its lambda."""
    settings = {"hidden_sizes": (40, 24, 16), "connection_count": "exact"}
    settings |= {"lambda1": 3.0, "lambda2": 9.6, "sparse_layers": ("input", "hidden", "output")}
    config = override(make_config(), settings)
    state = init(jax.random.key(0), config)
    masks = {"actor": state.actor.masks, **state.critic.masks}
    for network, layers_ in network_layers(HALF_CHEETAH, config).items():
        for layer in layers_:
            mask = masks[network][layer.name]["kernel"]
            assert mask.shape == (layer.n_in, layer.n_out)
            lam = 3.0 if layer.name == "hidden_0" else 9.6
            share = reference.density(*mask.shape, lam)
            assert mask.sum() == round(share * mask.size), (network, layer.name)
    assert masks["actor"]["hidden_2"]["kernel"].all()  # 9.6 * 40 / 384 = 1


def test_members_may_differ_in_their_densities():
    """Lambdas and sparsities are traced then."""

    @quick_jit
    @jax.vmap
    def connections(config):
        masks = td3.init(HALF_CHEETAH, jax.random.key(0), config).actor.masks
        return [masks[name]["kernel"].sum() for name in ("hidden_0", "hidden_1")]

    small = {"hidden_sizes": (40, 24), "connection_count": "exact"}
    by_lambda = [{"lambda1": 3.0, "lambda2": 5.0}, {"lambda1": 6.0, "lambda2": 2.0}]
    by_sparsity = [{"actor_sparsity": 0.5}, {"actor_sparsity": 0.75}]
    for members in (by_lambda, by_sparsity):
        configs = [override(TD3Config(), small | member) for member in members]
        stacked = jax.tree.map(lambda *values: jnp.stack(values), *configs)
        found = np.stack(connections(stacked), axis=1)
        layers_ = [network_layers(HALF_CHEETAH, config)["actor"] for config in configs]
        expected = [[round(layer.connections) for layer in own[:2]] for own in layers_]
        assert np.array_equal(found, expected)
