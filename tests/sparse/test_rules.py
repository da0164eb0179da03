"""Tests drop and grow rules against slow versions of the papers' formulas."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from tests.sparse import reference_rules as slow

# A layer, a convolution, and a layer without room for what it should drop.
SHAPES = [(8, 6), (3, 2, 4, 2)]
DENSITIES = [0.3, 0.5, 0.8]
FAN_IN = sparse.constant_fan_in()
TWO_OF_FOUR = sparse.n_of_m(2, 4)
RULES = {
    "set": sparse.SET,
    "rigl": sparse.RIGL,
    "snfs": sparse.SNFS,
    "sensitivity": sparse.Rules("sensitivity", grow_by="gradient"),
    "paper fan-in": sparse.PAPER._replace(groups=FAN_IN),
    "rigl fan-in": sparse.RIGL._replace(groups=FAN_IN),
    "set 2:4": sparse.SET._replace(groups=TWO_OF_FOUR),
    "snfs 2:4": sparse.SNFS._replace(groups=TWO_OF_FOUR),
}
CASES = [(density, fraction) for density in DENSITIES for fraction in (0.0, 0.3, 1.0)] * 4


@partial(jax.jit, static_argnames="rules")
def adapt(key, kernel, mask, fraction, gradient, momentum, *, rules):
    return sparse.drop_and_grow(
        key, kernel, mask, fraction, rules=rules, gradient=gradient, momentum=momentum
    )


@partial(jax.jit, static_argnames="rules")
def adapt_batch(*columns, rules):
    return jax.vmap(partial(adapt, rules=rules))(*columns)


def layer(seed, shape, density, rules):
    """Few different values, so that many are equal, and zeros among the connections."""
    rng = np.random.default_rng(seed)
    if rules.groups is None:
        size = np.prod(shape)
        mask = (rng.permutation(size) < round(density * size)).reshape(shape)
    else:
        mask = np.zeros(shape, bool)
        for group in slow.groups(shape, rules.groups.size):
            count = rules.groups.connections or round(density * len(group))
            for place in rng.choice(len(group), count, replace=False):
                mask[group[place]] = True
    kernel, gradient, momentum = rng.integers(-4, 5, (3, *shape)).astype(np.float32)
    return np.where(mask, kernel, 0), mask, gradient, momentum


def expected_drop(kernel, mask, gradient, fraction, rules):
    before = rules.grow == "empty_before_drop"
    room = (~mask).sum() if before else mask.size
    if rules.drop == "sensitivity":
        dropped = slow.drop_sensitivity(kernel, mask, gradient, fraction, room)
    else:
        dropped = slow.drop_magnitude(kernel, mask, fraction, room)
    if before and rules.groups:
        dropped = slow.cap_by_group(kernel, mask, dropped, rules.groups.size)
    return dropped


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, SHAPES[0]) for name in RULES if name != "paper fan-in"),
        *((name, SHAPES[1]) for name in ("set", "rigl fan-in", "snfs 2:4")),
    ],
    ids=str,
)
def test_rules_adapt_as_the_papers_say(name, shape):
    rules = RULES[name]
    layers = [layer(seed, shape, density, rules) for seed, (density, _) in enumerate(CASES)]
    kernels, masks, gradients, momenta = map(np.stack, zip(*layers, strict=True))
    fractions = np.float32([fraction for _, fraction in CASES])
    keys = jax.random.split(jax.random.key(0), len(CASES))
    changed = adapt_batch(keys, kernels, masks, fractions, gradients, momenta, rules=rules)
    for case, (_, fraction), *new in zip(layers, CASES, *map(np.asarray, changed), strict=True):
        check_adaptation(rules, *case, fraction, *new)


def check_adaptation(rules, kernel, mask, gradient, momentum, fraction, new_kernel, new_mask):
    dropped = expected_drop(kernel, mask, gradient, fraction, rules)
    kept = mask & ~dropped
    candidates = ~mask if rules.grow == "empty_before_drop" else ~kept
    grown = new_mask & ~kept
    np.testing.assert_array_equal(kept & new_mask, kept)
    np.testing.assert_array_equal(grown & candidates, grown)
    assert new_mask.sum() == mask.sum()
    np.testing.assert_array_equal(new_kernel, np.where(kept, kernel, 0))
    size = rules.groups and rules.groups.size
    if rules.groups:
        assert slow.count_by_group(new_mask, size) == slow.count_by_group(mask, size)
    if rules.grow_by == "random":
        return
    signal = {"gradient": gradient, "momentum": momentum}[rules.grow_by]
    if rules.groups is None:
        np.testing.assert_array_equal(grown, slow.grow_strongest(signal, candidates, dropped.sum()))
        return
    expected = np.zeros_like(grown)
    for group in slow.groups(mask.shape, size):
        inside = np.zeros_like(grown)
        for position in group:
            inside[position] = True
        count = (dropped & inside).sum()
        expected |= slow.grow_strongest(signal, candidates & inside, count)
    np.testing.assert_array_equal(grown, expected)


@pytest.mark.parametrize("name", ["paper fan-in", "set 2:4"])
def test_every_group_has_its_number_of_connections(name):
    rules, size = RULES[name], RULES[name].groups.size

    @jax.jit
    def draw_and_adapt(key, density):
        mask = sparse.random_mask(key, (8, 6), density, exact=True, groups=rules.groups)
        kernel = jnp.where(mask, jax.random.normal(key, (8, 6)), 0)
        return mask, sparse.drop_and_grow(key, kernel, mask, 0.3, rules=rules)[1]

    for density in DENSITIES:
        for mask in draw_and_adapt(jax.random.key(0), density):
            # Two of four, whatever the density.
            assert set(slow.count_by_group(mask, size)) == {2 if size else round(density * 8)}


def test_a_static_rule_changes_nothing():
    kernel, mask, gradient, momentum = layer(0, (8, 6), 0.5, sparse.STATIC)
    new = adapt(jax.random.key(0), kernel, mask, 1.0, gradient, momentum, rules=sparse.STATIC)
    np.testing.assert_array_equal(new[0], kernel)
    np.testing.assert_array_equal(new[1], mask)


def test_a_function_may_be_a_rule():
    def drop_first(kernel, mask, drop_fraction, room, gradient):
        return mask & (jnp.cumsum(mask).reshape(mask.shape) == 1)

    kernel, mask = jnp.ones((2, 3)), jnp.ones((2, 3), bool).at[0, 0].set(False)
    rules = sparse.Rules(drop=drop_first)
    _, new_mask = sparse.drop_and_grow(jax.random.key(0), kernel, mask, 0.5, rules=rules)
    np.testing.assert_array_equal(new_mask, [[True, False, True], [True, True, True]])


def test_rigl_by_hand():
    """One of three goes, the weakest; the largest gradient outside of the other two comes."""
    kernel = jnp.array([[0.1, 2.0, 0.0], [0.0, 0.0, -3.0]])
    mask = jnp.array([[True, True, False], [False, False, True]])
    gradient = jnp.array([[5.0, 9.0, 1.0], [-4.0, 2.0, 9.0]])
    back, same = adapt(jax.random.key(0), kernel, mask, 0.34, gradient, None, rules=sparse.RIGL)
    np.testing.assert_array_equal(same, mask)  # it comes back at once, and starts from 0
    np.testing.assert_array_equal(back, [[0.0, 2.0, 0.0], [0.0, 0.0, -3.0]])
    elsewhere = gradient.at[0, 0].set(3.0)
    _, moved = adapt(jax.random.key(0), kernel, mask, 0.34, elsewhere, None, rules=sparse.RIGL)
    np.testing.assert_array_equal(moved, [[False, True, False], [True, False, True]])


def test_pruning_keeps_the_largest_connections_only():
    kernel, mask, _, _ = layer(3, (8, 6), 0.5, sparse.PAPER)
    prune = jax.jit(sparse.prune_kernel)
    for count in (0, 5, 24, 40):
        new_kernel, new_mask = prune(kernel, mask, count)
        expected = slow.select_largest(np.abs(kernel), mask, count)
        np.testing.assert_array_equal(new_mask, expected)
        np.testing.assert_array_equal(new_kernel, np.where(expected, kernel, 0))


def test_vmap_of_rules_equals_a_loop():
    rules = RULES["snfs 2:4"]
    cases = [layer(seed, (8, 6), density, rules) for seed, (density, _) in enumerate(CASES)]
    keys = jax.random.split(jax.random.key(0), len(CASES))
    columns = [np.stack(column) for column in zip(*cases, strict=True)]
    fractions = np.full(len(CASES), 0.3, np.float32)
    batched = adapt_batch(keys, *columns[:2], fractions, *columns[2:], rules=rules)
    for index, (kernel, mask, gradient, momentum) in enumerate(cases[:3]):
        one = adapt(keys[index], kernel, mask, fractions[0], gradient, momentum, rules=rules)
        for together, alone in zip(batched, one, strict=True):
            np.testing.assert_array_equal(together[index], alone)


def test_errors_name_what_a_rule_needs():
    kernel = jnp.zeros((6, 2))
    mask = jnp.ones((6, 2), bool)
    go = partial(sparse.drop_and_grow, jax.random.key(0), kernel, mask, 0.5)
    with pytest.raises(ValueError, match="rules.grow_by 'gradient' needs"):
        go(rules=sparse.RIGL)
    with pytest.raises(ValueError, match="rules.grow_by 'momentum' needs"):
        go(rules=sparse.SNFS, gradient=kernel)
    with pytest.raises(ValueError, match="'sensitivity' needs the kernel's gradient"):
        go(rules=sparse.Rules("sensitivity"))
    with pytest.raises(ValueError, match="6 inputs of an output must be a multiple .* 4"):
        go(rules=sparse.PAPER._replace(groups=TWO_OF_FOUR))
    with pytest.raises(ValueError, match=r"n must be in \[1, m\], got n 5 and m 4"):
        sparse.n_of_m(5, 4)
    with pytest.raises(ValueError, match="every group of 6 inputs a connection, .* got 0.05"):
        sparse.random_mask(jax.random.key(0), (6, 2), 0.05, groups=sparse.constant_fan_in())
