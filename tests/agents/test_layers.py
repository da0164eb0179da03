"""Which layers are sparse, how dense each is, and FACTS' table of sizes to the digit."""

import re
from functools import partial

import jax
import pytest

from dsrl_jax.agents.costs import actual_cost, expected_cost
from dsrl_jax.agents.layers import check_sparsity, layer_shapes, network_layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.settings import override
from dsrl_jax.sparse import count_weights, expected_connections
from tests import reference

CRITICS = ("critic_1", "critic_2")
NETWORKS = ("actor", *CRITICS)
CONFIGS = {"td3": TD3Config, "sac": SACConfig}
both_agents = pytest.mark.parametrize("agent", CONFIGS)


def make_spaces(n_state, n_action):
    return Spaces(n_state, (-1.0,) * n_action, (1.0,) * n_action)


HALF_CHEETAH = make_spaces(17, 6)


def make_config(agent="td3", **settings):
    return override(CONFIGS[agent](), settings)


# --- Sizes ---------------------------------------------------------------------------------------

# FACTS, Expected sizes: agent, observations, actions, lambda1, lambda2; dense weights of the actor
# and both critics, expected connections, sparsity in %, sparse / dense training FLOPs.
SIZES = {
    "DS-TD3 HalfCheetah, Walker2d": ("td3", 17, 6, 7, 64, 214784, 106169, 50.57, 0.4918),
    "DS-TD3 Hopper": ("td3", 11, 3, 7, 64, 207872, 105233, 49.38, 0.5050),
    "DS-TD3 Ant-v3": ("td3", 111, 8, 40, 64, 288512, 145544, 49.55, 0.5022),
    "DS-TD3 Ant-v5": ("td3", 105, 8, 40, 64, 283904, 144824, 48.99, 0.5079),
    "DS-TD3 Humanoid-v3": ("td3", 376, 17, 61, 64, 498944, 220898, 55.73, 0.4402),
    "DS-TD3 Humanoid-v5": ("td3", 348, 17, 61, 64, 477440, 215774, 54.81, 0.4493),
    "DS-SAC HalfCheetah, Walker2d": ("sac", 17, 6, 12, 80, 216320, 136436, 36.93, 0.6307),
    "DS-SAC Hopper": ("sac", 11, 3, 7, 20, 208640, 38417, 81.59, 0.1841),
    "DS-SAC Ant-v5": ("sac", 105, 8, 30, 64, 285952, 135882, 52.48, 0.4752),
    "DS-SAC Humanoid-v5": ("sac", 348, 17, 61, 64, 481792, 220126, 54.31, 0.4569),
    "DS-TD3 Ant (v4, Brax)": ("td3", 27, 8, 40, 64, 224000, 125696, 43.89, 0.5613),
    "DS-TD3 Humanoid (Brax)": ("td3", 244, 17, 61, 64, 397568, 196742, 50.51, 0.4917),
    "DS-SAC Ant-v3": ("sac", 111, 8, 30, 64, 290560, 136422, 53.05, 0.4695),
    "DS-SAC Humanoid-v3": ("sac", 376, 17, 61, 64, 503296, 225250, 55.25, 0.4475),
}


@pytest.mark.parametrize("row", SIZES.values(), ids=SIZES)
def test_sizes_are_the_tables(row):
    agent, n_state, n_action, lambda1, lambda2, weights, connections, percent, ratio = row
    config = make_config(agent, lambda1=float(lambda1), lambda2=float(lambda2))
    cost = expected_cost(make_spaces(n_state, n_action), config, updates=1e6)
    assert cost.dense_weights == weights
    assert round(cost.connections) == connections
    assert round(100 * cost.sparsity, 2) == percent
    assert round(cost.ratio_to_dense, 4) == ratio


@both_agents
@pytest.mark.parametrize("updates", [1_000_000, 975_000])
def test_training_flops_are_the_references(agent, updates):
    config = make_config(agent, topology="dense")
    cost = expected_cost(HALF_CHEETAH, config, updates)
    actor, critics = {"td3": (71424, 71680), "sac": (72960, 71680)}[agent]
    batch, delay = {"td3": (100, 2), "sac": (256, 1)}[agent]
    expected = reference.training_flops(actor, [critics] * 2, batch, updates, delay)
    assert cost.training_flops == expected
    assert (cost.sparsity, cost.ratio_to_dense) == (0, 1)


def test_dense_td3_costs_what_the_paper_says():
    cost = expected_cost(HALF_CHEETAH, make_config(topology="dense"), 1e6)
    assert f"{cost.training_flops:.4e}" == "1.0744e+14"


def test_actual_cost_counts_what_there_is():
    cost = actual_cost(HALF_CHEETAH, TD3Config(), 1000, 10_000, 20_000)
    assert cost.connections == 30_000
    assert cost.sparsity == 1 - 30_000 / 214_784
    assert cost.training_flops == reference.training_flops(10_000, [20_000], 100, 1000, 2)
    assert cost.ratio_to_dense == pytest.approx((20_000 + 5_000) / (2 * 71_680 + 71_424 / 2))


@both_agents
def test_growth_by_gradient_or_momentum_costs_dense_gradients(agent):
    """2 FLOPs an absent weight and sample: at adaptations for RigL, at training steps for SNFS."""
    batch, delay = {"td3": (100, 2), "sac": (256, 1)}[agent]
    own = {"moments": "dense", "adaptation_period": 500}
    plain = expected_cost(HALF_CHEETAH, make_config(agent, **own), 1e6)
    layers = network_layers(HALF_CHEETAH, make_config(agent))
    absent = {name: count_weights(n) - expected_connections(n) for name, n in layers.items()}
    in_critics = absent["critic_1"] + absent["critic_2"]
    for actor, critic, gradients in [
        ("set", "static", 0),
        ("dynamic", "rigl", in_critics / 500),
        ("rigl", "snfs", absent["actor"] / 500 + in_critics),
        ("snfs", "dynamic", absent["actor"] / delay),
    ]:
        config = make_config(agent, actor_topology=actor, critic_topology=critic, **own)
        cost = expected_cost(HALF_CHEETAH, config, 1e6)
        more = 2 * gradients * batch * 1e6
        assert cost.training_flops == pytest.approx(plain.training_flops + more, rel=1e-12)
        ratio = cost.training_flops / plain.training_flops * plain.ratio_to_dense
        assert cost.ratio_to_dense == pytest.approx(ratio)
        assert (cost.connections, cost.sparsity) == (plain.connections, plain.sparsity)


# --- Layers --------------------------------------------------------------------------------------


@both_agents
def test_shapes_are_the_networks(agent):
    shapes = layer_shapes(HALF_CHEETAH, make_config(agent, hidden_sizes=(5, 6, 7)))
    hidden = {"hidden_1": (5, 6), "hidden_2": (6, 7)}
    heads = {"td3": ["output"], "sac": ["mean", "log_std"]}[agent]
    assert shapes["actor"] == {"hidden_0": (17, 5), **hidden} | {name: (7, 6) for name in heads}
    for critic in CRITICS:
        assert shapes[critic] == {"hidden_0": (23, 5), **hidden, "output": (7, 1)}


def densities(config, spaces=HALF_CHEETAH):
    return {
        (network, layer.name): layer.density
        for network, layers in network_layers(spaces, config).items()
        for layer in layers
    }


GROUPS = {"input": ("hidden_0",), "hidden": ("hidden_1", "hidden_2")}


@both_agents
@pytest.mark.parametrize(
    "sparse_layers",
    [("input",), ("hidden",), ("output",), ("hidden", "input"), ("input", "hidden", "output")],
)
@pytest.mark.parametrize("topology", ["dense", "static", "dynamic"])
def test_sparse_layers_are_a_setting(agent, sparse_layers, topology):
    config = make_config(
        agent,
        topology=topology,
        sparse_layers=sparse_layers,
        hidden_sizes=(32, 24, 16),
        lambda1=2.0,
        lambda2=3.0,
    )
    for (network, name), density in densities(config).items():
        group = next((group for group, names in GROUPS.items() if name in names), "output")
        lam = 2.0 if name == "hidden_0" else 3.0
        shape = layer_shapes(HALF_CHEETAH, config)[network][name]
        is_sparse = topology != "dense" and group in sparse_layers
        expected = reference.density(*shape, lam) if is_sparse else 1.0
        assert density == pytest.approx(expected), (network, name)


def test_a_layer_that_has_no_room_for_its_lambda_is_dense():
    """FACTS: Ant with 27 observations, 1.638 of the actor and 1.299 of a critic."""
    found = densities(make_config(lambda1=40.0), make_spaces(27, 8))
    assert [found[network, "hidden_0"] for network in NETWORKS] == [1, 1, 1]
    assert found["actor", "hidden_1"] == 0.5


# --- Sparsity by share ---------------------------------------------------------------------------


def sparsity_of(config, networks, spaces=HALF_CHEETAH):
    layers = [layer for name in networks for layer in network_layers(spaces, config)[name]]
    return 1 - expected_connections(layers) / count_weights(layers)


@both_agents
@pytest.mark.parametrize("distribution", ["erdos_renyi", "erk", "uniform"])
@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 0.95])
def test_a_sparsity_is_of_the_networks_that_it_names(agent, distribution, value):
    by_lambda = make_config(agent)
    for name, networks in [
        ("sparsity", NETWORKS),
        ("actor_sparsity", ("actor",)),
        ("critic_sparsity", CRITICS),
    ]:
        config = make_config(agent, distribution=distribution, **{name: value})
        assert sparsity_of(config, networks) == pytest.approx(value)
        for network in set(NETWORKS) - set(networks):  # as its lambdas say
            assert sparsity_of(config, [network]) == sparsity_of(by_lambda, [network])
    together = make_config(agent, actor_sparsity=value, critic_sparsity=0.6)
    assert sparsity_of(together, ["actor"]) == pytest.approx(value)
    assert sparsity_of(together, CRITICS) == pytest.approx(0.6)


def lambdas(config):
    """Of the layers that are sparse, and that no density is clipped in."""
    layers = [layer for own in network_layers(HALF_CHEETAH, config).values() for layer in own]
    return [layer.connections / (layer.n_in + layer.n_out) for layer in layers if layer.density < 1]


def test_one_lambda_is_of_all_networks_together():
    found = lambdas(make_config(sparsity=0.9))
    assert found == pytest.approx([found[0]] * 6)
    uniform = densities(make_config(sparsity=0.5, distribution="uniform"))
    hidden = [density for (_, name), density in uniform.items() if name.startswith("hidden")]
    assert hidden == pytest.approx([hidden[0]] * 6)
    assert {d for (_, name), d in uniform.items() if name == "output"} == {1.0}


@both_agents
@pytest.mark.parametrize("dense, sparse_ones", [("actor", CRITICS), ("critic", ("actor",))])
def test_a_dense_network_is_dense_and_a_sparsity_of_all_is_met_by_the_others(
    agent, dense, sparse_ones
):
    own = {f"{dense}_topology": "dense"}
    plain, mixed = densities(make_config(agent)), densities(make_config(agent, **own))
    for (network, name), density in mixed.items():
        expected = plain[network, name] if network in sparse_ones else 1
        assert density == expected, (network, name)

    value = {"actor": 0.5, "critic": 0.25}[dense]
    config = make_config(agent, sparsity=value, **own)
    check_sparsity(HALF_CHEETAH, config)
    assert sparsity_of(config, NETWORKS) == pytest.approx(value)
    assert sparsity_of(config, set(NETWORKS) - set(sparse_ones)) == 0
    found = lambdas(config)
    assert found == pytest.approx([found[0]] * len(found))


@pytest.mark.parametrize("dense, said", [("actor", "a dense actor"), ("critic", "dense critics")])
def test_a_sparsity_that_the_other_networks_cannot_meet_raises(dense, said):
    config = make_config(sparsity=0.9, **{f"{dense}_topology": "dense"})
    message = rf"^sparsity must be at most (0\.\d+) with .*hidden and {said}, got 0.9$"
    with pytest.raises(ValueError, match=message) as error:
        check_sparsity(HALF_CHEETAH, config)
    largest = float(re.match(message, str(error.value))[1])
    check_sparsity(HALF_CHEETAH, override(config, {"sparsity": largest}))
    # The sparse networks have at most this share of all weights.
    others = {"actor": 2 * 71_680, "critic": 71_424}[dense]
    assert 0.97 * others / 214_784 < largest < others / 214_784


def test_a_sparsity_of_a_dense_network_says_nothing():
    """As one of a dense agent; the presets raise an error."""
    config = make_config(actor_topology="dense", actor_sparsity=0.5)
    assert sparsity_of(config, ["actor"]) == 0
    check_sparsity(HALF_CHEETAH, config)


def test_a_layer_that_saturates_leaves_the_rest_to_the_others():
    """Hopper's 11 inputs are full long before layer 2 is."""
    config = make_config(sparsity=0.3)
    hopper = make_spaces(11, 3)
    assert densities(config, hopper)["actor", "hidden_0"] == 1
    assert densities(config, hopper)["actor", "hidden_1"] < 1
    assert sparsity_of(config, NETWORKS, hopper) == pytest.approx(0.3)


def test_a_dense_agent_has_no_sparsity():
    config = make_config(topology="dense", sparsity=0.5, actor_sparsity=0.5)
    assert set(densities(config).values()) == {1.0}
    check_sparsity(HALF_CHEETAH, make_config(topology="dense", sparsity=0.9999999))


@both_agents
@pytest.mark.parametrize("distribution", ["erdos_renyi", "uniform"])
def test_traced_equals_untraced(agent, distribution):
    """As members that differ in it have it."""
    for settings in ({"sparsity": 0.7}, {"critic_sparsity": 0.7}, {"lambda1": 3.0, "lambda2": 9.0}):
        config = make_config(agent, distribution=distribution, **settings)
        traced = jax.jit(lambda config: list(densities(config).values()))(config)
        assert traced == pytest.approx(list(densities(config).values()), rel=1e-5)


# --- The largest sparsity ------------------------------------------------------------------------


@both_agents
@pytest.mark.parametrize("distribution", ["erdos_renyi", "uniform"])
@pytest.mark.parametrize("sparse_layers", [("hidden",), ("input", "hidden", "output")])
@pytest.mark.parametrize("name", ["sparsity", "actor_sparsity", "critic_sparsity"])
def test_refuses_a_sparsity_that_cannot_be_met(agent, distribution, sparse_layers, name):
    make = partial(make_config, agent, distribution=distribution, sparse_layers=sparse_layers)
    with pytest.raises(ValueError) as error:
        check_sparsity(HALF_CHEETAH, make(**{name: 0.99999}))
    pattern = rf"{name} must be at most (0\.\d+) with sparse_layers (.*), got 0.99999"
    largest, layers = re.fullmatch(pattern, str(error.value)).groups()
    assert layers == ",".join(sparse_layers)

    check_sparsity(HALF_CHEETAH, make(**{name: float(largest)}))
    with pytest.raises(ValueError, match=f"^{name} must be at most {largest} "):
        check_sparsity(HALF_CHEETAH, make(**{name: float(largest) + 1e-4}))
    # Exactly there, a layer expects one connection.
    layers = network_layers(HALF_CHEETAH, make(**{name: float(largest)}))
    networks = {"actor_sparsity": ["actor"], "critic_sparsity": CRITICS}.get(name, NETWORKS)
    sparse = [layer for n in networks for layer in layers[n] if layer.density < 1]
    assert 1 <= min(layer.connections for layer in sparse) < 1 + 1e-4 * 3 * 80_000


def test_the_largest_sparsity_by_hand():
    """Of 160 weights the head's 20, 1 in layer 1 and, by the sizes, 20 / 14 in layer 2."""
    config = make_config(hidden_sizes=(10, 10), actor_sparsity=0.9)
    with pytest.raises(ValueError, match="^actor_sparsity must be at most 0.8598 with"):
        check_sparsity(make_spaces(4, 2), config)
