"""Tests the densities of leaves by the sparsity of a whole tree or of path patterns."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from tests.sparse import reference_rules as slow

PARAMS = {
    "conv": {"kernel": jnp.zeros((3, 3, 8, 16)), "bias": jnp.zeros(16)},
    "dense": {"kernel": jnp.zeros((40, 20))},
    "layers": {"kernel": jnp.zeros((2, 16, 16))},
}


def stacked(path, shape):
    return int(path.startswith("layers"))


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_erk_shares_as_rigl_says_and_stacked_networks_share_alike(sparsity):
    densities = sparse.find_densities(
        PARAMS, sparsity, "erk", layout=sparse.Layout(stacked_axes=stacked)
    )
    shapes = [(3, 3, 8, 16), (40, 20), (16, 16), (16, 16)]
    weights = sum(map(math.prod, shapes))
    conv, dense, first, second = slow.erk(shapes, (1 - sparsity) * weights)
    assert first == second
    found = [densities[f"{name}/kernel"] for name in ("conv", "dense", "layers")]
    np.testing.assert_allclose(found, [conv, dense, first], atol=1e-9)


def test_uniform_densities_are_equal():
    densities = sparse.find_densities(PARAMS, 0.8, "uniform")
    np.testing.assert_allclose(list(densities.values()), [0.2] * 3)


def test_by_lambda_is_equation_1():
    density = sparse.erdos_renyi(7)
    assert density("dense/kernel", (40, 20)) == sparse.erdos_renyi_density(40, 20, 7)


def test_the_first_pattern_that_matches_counts():
    densities = sparse.find_densities(PARAMS, {"conv/*": 0.5, "*": 0.9})
    assert densities["conv/kernel"] == 0.5
    np.testing.assert_allclose(densities["dense/kernel"], 0.1)


def test_a_traced_sparsity_gives_traced_densities():
    densities = jax.jit(lambda s: sparse.find_densities(PARAMS, s)["dense/kernel"])(0.9)
    expected = sparse.find_densities(PARAMS, 0.9)["dense/kernel"]
    np.testing.assert_allclose(densities, expected, rtol=1e-5)


def test_errors():
    find = sparse.find_densities
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\), got 1.0"):
        find(PARAMS, 1.0)
    with pytest.raises(ValueError, match="sparsity must be at most 0.99.* got 0.9999"):
        find(PARAMS, 0.9999)
    with pytest.raises(ValueError, match="dense/kernel matches no pattern of conv/"):
        find(PARAMS, {"conv/*": 0.5})
    with pytest.raises(ValueError, match="pattern head/.* is the first match of no sparse leaf"):
        find(PARAMS, {"*": 0.5, "head/*": 0.9})
    with pytest.raises(ValueError, match=r"sparsity of \* must be in \[0, 1\), got -1"):
        find(PARAMS, {"*": -1})
    with pytest.raises(ValueError, match=r"of \* must be at most 1 - 1 / 1152 for conv/kernel"):
        find(PARAMS, {"*": 0.9999})
    with pytest.raises(ValueError, match="at most 1 - 1 / 256 for layers/kernel .* got 0.999"):
        find(PARAMS, {"layers/*": 0.999, "*": 0.5}, layout=sparse.Layout(stacked_axes=stacked))
    with pytest.raises(ValueError, match=r"gain must have two axes or more .* got \(3,\)"):
        sparse.erdos_renyi(7)("gain", (3,))
    with pytest.raises(ValueError, match="no leaf is sparse: .* bias"):
        find({"bias": jnp.zeros(3)}, 0.5)
