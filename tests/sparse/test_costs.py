"""The paper's sizes and training FLOPs, number by number."""

import pytest

from dsrl_jax import sparse
from dsrl_jax.sparse import Layer
from tests import reference

# FACTS.md, "Expected sizes", DS-TD3: observations, actions, lambda1, lambda2; dense weights of the
# actor and both critics, expected connections, sparsity in %, sparse / dense training FLOPs.
SIZES = {
    "HalfCheetah, Walker2d": (17, 6, 7, 64, 214784, 106169, 50.57, 0.4918),
    "Hopper": (11, 3, 7, 64, 207872, 105233, 49.38, 0.5050),
    "Ant-v3": (111, 8, 40, 64, 288512, 145544, 49.55, 0.5022),
    "Ant-v5": (105, 8, 40, 64, 283904, 144824, 48.99, 0.5079),
    "Humanoid-v3": (376, 17, 61, 64, 498944, 220898, 55.73, 0.4402),
    "Humanoid-v5": (348, 17, 61, 64, 477440, 215774, 54.81, 0.4493),
    "Ant-v4, Brax": (27, 8, 40, 64, 224000, 125696, 43.89, 0.5613),  # layer 1 comes out dense
    "Humanoid, Brax": (244, 17, 61, 64, 397568, 196742, 50.51, 0.4917),
}
HALF_CHEETAH = SIZES["HalfCheetah, Walker2d"][:4]


def td3_layers(observations, actions, lam1, lam2):
    """The actor's layers, and one critic's."""

    def network(n_in, n_out):
        return [
            Layer("hidden_1", n_in, 256, sparse.erdos_renyi_density(n_in, 256, lam1)),
            Layer("hidden_2", 256, 256, sparse.erdos_renyi_density(256, 256, lam2)),
            Layer("output", 256, n_out, 1.0),
        ]

    return network(observations, actions), network(observations + actions, 1)


def td3_flops(actor, critic, count, updates=1e6):
    """The paper's count of a run; `count` is `expected_connections` or `count_weights`."""
    return sparse.training_flops(
        2 * count(critic), count(actor), batch_size=100, updates=updates, policy_delay=2
    )


@pytest.mark.parametrize("row", SIZES.values(), ids=SIZES)
def test_sizes_of_ds_td3(row):
    *environment, weights, connections, sparsity_percent, flops_ratio = row
    actor, critic = td3_layers(*environment)

    assert sparse.count_weights(actor + critic + critic) == weights
    expected = sparse.expected_connections(actor + critic + critic)
    assert round(expected) == connections
    assert round(100 * (1 - expected / weights), 2) == sparsity_percent
    sparse_flops = td3_flops(actor, critic, sparse.expected_connections)
    dense_flops = td3_flops(actor, critic, sparse.count_weights)
    assert round(sparse_flops / dense_flops, 4) == flops_ratio


def test_half_cheetahs_connections_by_lambda():
    # FACTS.md: 831 lambda1 + 1536 lambda2 + 2048, so (14, 96), (7, 64), (12, 20) are
    # 25 %, 50 % and 80 % sparse.
    for lam1, lam2, sparsity_percent in [(14, 96, 25), (7, 64, 50), (12, 20, 80)]:
        actor, critic = td3_layers(17, 6, lam1, lam2)
        connections = sparse.expected_connections(actor + critic + critic)
        assert connections == pytest.approx(831 * lam1 + 1536 * lam2 + 2048)
        assert 100 * (1 - connections / 214784) == pytest.approx(sparsity_percent, abs=1)


@pytest.mark.parametrize(
    "updates, flops",
    [
        (1e6, "1.0744e+14"),  # the paper's, one update per environment step
        (975_000, "1.0476e+14"),  # what happens after 25,000 random steps
    ],
)
def test_training_flops_of_dense_td3_on_half_cheetah(updates, flops):
    actor, critic = td3_layers(*HALF_CHEETAH)
    assert f"{td3_flops(actor, critic, sparse.count_weights, updates):.4e}" == flops


@pytest.mark.parametrize("policy_delay", [1, 2, 3])
def test_training_flops_are_the_references(policy_delay):
    flops = sparse.training_flops(
        700 + 900, 500, batch_size=100, updates=1200, policy_delay=policy_delay
    )
    assert flops == reference.training_flops(500, [700, 900], 100, 1200, policy_delay)


def test_a_layer_counts_its_weights_and_connections():
    layer = Layer("hidden_1", n_in=3, n_out=5, density=0.5)
    assert layer.weights == 15
    assert layer.connections == 7.5  # expected, so not a whole number
    assert sparse.count_weights([]) == sparse.expected_connections([]) == 0
