"""A total shared among layers: Erdős–Rényi, ERK and uniform."""

import math
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrl_jax.sparse import erdos_renyi_density, fewest_connections, share_connections

DISTRIBUTIONS = ["erdos_renyi", "erk", "uniform"]
every_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS)

# DS-TD3's sparse layers on HalfCheetah, and a small one that fills first.
SHAPES = [(17, 256), (256, 256), (23, 256), (3, 4)]
CONVOLUTIONS = [(3, 3, 16, 32), (5, 5, 16, 32), (512, 10)]


def connections(shapes, densities):
    return sum(math.prod(shape) * share for shape, share in zip(shapes, densities, strict=True))


def proportions(shapes, distribution):
    """What a layer's density is a multiple of, as long as it is not full (eq. 1; RigL)."""
    if distribution == "uniform":
        return [1.0 for _ in shapes]
    axes = [shape if distribution == "erk" else shape[-2:] for shape in shapes]
    return [sum(sizes) / math.prod(sizes) for sizes in axes]


def shares_by_bisection(shapes, total, distribution):
    """The slow way: the one multiple with which the layers, none more than full, have the total."""
    parts = proportions(shapes, distribution)
    low, high = 0.0, 1 / min(parts)
    for _ in range(200):
        middle = (low + high) / 2
        short = connections(shapes, [min(1.0, middle * part) for part in parts]) < total
        low, high = (middle, high) if short else (low, middle)
    return [min(1.0, high * part) for part in parts]


sizes = st.integers(1, 40)
some_shapes = st.lists(
    st.one_of(
        st.tuples(sizes, sizes), st.tuples(st.integers(1, 5), st.integers(1, 5), sizes, sizes)
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, derandomize=True)
@given(some_shapes, st.floats(0, 1), st.sampled_from(DISTRIBUTIONS))
def test_totals_are_met_by_one_multiple(shapes, share, distribution):
    total = share * sum(map(math.prod, shapes))
    densities = share_connections(shapes, total, distribution)
    assert all(0 <= density <= 1 for density in densities)
    assert connections(shapes, densities) == pytest.approx(total, rel=1e-9, abs=1e-9)
    expected = shares_by_bisection(shapes, total, distribution)
    assert densities == pytest.approx(expected, rel=1e-6, abs=1e-12)


@every_distribution
@pytest.mark.parametrize("shapes", [SHAPES, CONVOLUTIONS])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.9, 1.0])
def test_traced_equals_untraced(distribution, shapes, share):
    total = share * sum(map(math.prod, shapes))
    traced = jax.jit(partial(share_connections, shapes, distribution=distribution))(total)
    expected = share_connections(shapes, total, distribution)
    assert all(isinstance(density, float) for density in expected)
    np.testing.assert_allclose(traced, expected, rtol=1e-5)
    assert max(traced) <= 1


@every_distribution
def test_all_connections_traced_are_dense_to_the_last_one(distribution):
    """Rounding to single precision must not leave a connection out."""
    for width in range(3, 300, 33):
        shapes = [(17, width), (width, width), (23, width), (width, 1)]
        share = jax.jit(partial(share_connections, shapes, distribution=distribution))
        assert share(float(sum(map(math.prod, shapes)))) == [1.0] * len(shapes)


def test_one_lambda_is_equation_1s():
    """Connections that follow from a lambda give the densities of that lambda back."""
    for lam in (0.5, 7.0, 64.0):
        densities = [erdos_renyi_density(*shape, lam) for shape in SHAPES]
        found = share_connections(SHAPES, connections(SHAPES, densities))
        assert found == pytest.approx(densities)
    assert densities[-1] == 1  # (3, 4) is full, and the others share what it has no room for


def test_a_full_layer_leaves_the_rest_to_the_others():
    """Connections go 4 to 20 until the 4 of (2, 2) are all there, at 24."""
    assert share_connections([(2, 2), (10, 10)], 12.0) == pytest.approx([0.5, 0.1])
    assert share_connections([(2, 2), (10, 10)], 24.0) == pytest.approx([1.0, 0.2])
    assert share_connections([(2, 2), (10, 10)], 54.0) == pytest.approx([1.0, 0.5])


def test_uniform_is_one_density():
    for density in (0.0, 0.2, 1.0):
        total = density * sum(map(math.prod, SHAPES))
        found = share_connections(SHAPES, total, "uniform")
        assert found == pytest.approx([density] * len(SHAPES))


def test_erk_differs_only_for_convolutions():
    assert share_connections(SHAPES, 20_000, "erk") == share_connections(SHAPES, 20_000)
    total = 0.3 * sum(map(math.prod, CONVOLUTIONS))
    small, large, _ = share_connections(CONVOLUTIONS, total, "erk")
    # RigL: 1 - (n_in + n_out + width + height) / (n_in n_out width height) is the sparsity.
    assert small / large == pytest.approx((54 / (9 * 512)) / (58 / (25 * 512)))
    small, large, _ = share_connections(CONVOLUTIONS, total)
    assert small == pytest.approx(large)  # by their channels, which are the same


@every_distribution
def test_limits_are_no_connection_and_every_one(distribution):
    assert share_connections(SHAPES, 0, distribution) == [0.0] * len(SHAPES)
    weights = sum(map(math.prod, SHAPES))
    assert share_connections(SHAPES, weights, distribution) == pytest.approx([1.0] * len(SHAPES))
    assert share_connections([], 0, distribution) == []


@pytest.mark.parametrize("total", [-1.0, 4.1 + 100.0, float("nan"), float("inf")])
def test_refuses_what_cannot_be_had(total):
    with pytest.raises(ValueError) as error:
        share_connections([(2, 2), (10, 10)], total)
    assert str(error.value) == f"connections must be in [0, 104], got {total}"


@settings(deadline=None, derandomize=True)
@given(some_shapes, st.sampled_from(DISTRIBUTIONS))
def test_fewest_connections_give_every_layer_one(shapes, distribution):
    fewest = fewest_connections(shapes, distribution)
    densities = share_connections(shapes, fewest, distribution)
    of_layer = [math.prod(s) * share for s, share in zip(shapes, densities, strict=True)]
    assert min(of_layer) == pytest.approx(1)
    less = share_connections(shapes, 0.99 * fewest, distribution)
    assert min(math.prod(s) * share for s, share in zip(shapes, less, strict=True)) < 1


def test_a_misspelt_distribution_raises():
    with pytest.raises(ValueError, match="must be one of erdos_renyi, erk, uniform, got 'ERK'"):
        share_connections([(10, 10)], 5, "ERK")


def test_fewest_connections_by_hand():
    assert fewest_connections([(10, 10), (20, 30)]) == 1 + 50 / 20
    assert fewest_connections([(10, 10), (20, 30)], "uniform") == 1 + 6
    assert fewest_connections([(1, 1), (1, 2)]) == pytest.approx(1 + 1.5)
