"""Tests `sparsify` with any optax optimizer: invariants, equalities, schedules."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrl_jax import sparse
from tests.sorting import sorts
from tests.sparse import reference_rules as slow
from tests.sparse.sparsify_cases import (
    EXACT,
    OPTIMIZERS,
    PERIOD,
    is_hidden_kernel,
    kernels_of,
    make,
    masks_of,
    random_tree,
    step_of,
    train,
    whole_tree,
)

# --- After every update --------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_trains_only_connections(name):
    inner, others = OPTIMIZERS[name]
    optimizer = make(inner, rules=sparse.SET)
    first, moved = None, 0
    for number, before, (params, state) in train(optimizer, random_tree(jax.random.key(9))):
        masks, earlier = masks_of(state), masks_of(before[1])
        found = sparse.check(params, sparse.get_masks(state), state, optimizer)
        assert sorted(found) == sorted(others)
        first = first or [mask.sum() for mask in masks]
        assert [mask.sum() for mask in masks] == first
        for kernel, mask, old in zip(kernels_of(params), masks, earlier, strict=True):
            assert not kernel[mask & ~old].any()  # grown at 0
            assert (mask != old).any() == (number % PERIOD == 0)
        moved += not np.array_equal(params["hidden"]["bias"], before[0]["hidden"]["bias"])
    assert sum(first) == round(0.4 * 63)
    assert moved >= 3  # every second of seven with MultiSteps
    dense = sparse.get_masks(state) | {"hidden": sparse.get_masks(state)["hidden"]["bias"]}
    assert all(mask.all() for mask in jax.tree.leaves(dense))


def test_the_state_of_a_connection_is_cleared_when_it_goes_and_kept_while_it_stays():
    optimizer = make(optax.adam(1e-2), drop_fraction=0.5)
    start = random_tree(jax.random.key(9))
    for number, before, (_, state) in train(optimizer, start, 3, random_tree):
        if number % PERIOD:
            continue
        old, new = masks_of(before[1])[0], masks_of(state)[0]
        for moments in (state.inner[0].mu, state.inner[0].nu):
            moment = kernels_of(moments)[0]
            assert not moment[~(old & new)].any()
            assert moment[old & new].all()


@pytest.mark.parametrize("name", ["rprop", "adagrad"])
def test_a_grown_connection_moves_as_the_bare_optimizer_moves_a_new_weight(name):
    inner, _ = OPTIMIZERS[name]
    optimizer = make(inner, rules=sparse.SET, drop_fraction=0.5)
    after = [now for _, _, now in train(optimizer, random_tree(jax.random.key(9)), 5)]
    grown = masks_of(after[2][1])[0] & ~masks_of(after[1][1])[0]
    weights = jnp.zeros((9, 7))
    state = inner.init(weights)
    for number in (4, 5):  # the second of Rprop's steps is the first that is not 0
        gradients = kernels_of(whole_tree(jax.random.key(number)))[0]
        updates, state = inner.update(gradients, state)
        weights += updates
    assert weights[grown].any()
    np.testing.assert_allclose(kernels_of(after[4][0])[0][grown], weights[grown], rtol=1e-5)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    sparsity=st.sampled_from([0.2, 0.6, 0.9]),
    name=st.sampled_from(["SET", "RIGL", "SNFS"]),
)
def test_counts_stay_and_moments_are_disjoint_from_the_absent(seed, sparsity, name):
    start = random_tree(jax.random.key(seed))
    optimizer = make(sparsity=sparsity, key=jax.random.key(seed), rules=getattr(sparse, name))
    counts = {tuple(mask.sum() for mask in masks_of(optimizer.init(start)))}
    for _, _, (params, state) in train(optimizer, start, steps=4):
        sparse.check(params, sparse.get_masks(state), state)
        counts.add(tuple(mask.sum() for mask in masks_of(state)))
    assert len(counts) == 1


# --- What it equals ------------------------------------------------------------------------------


def test_it_is_the_agents_own_step_and_adaptation():
    """Given the same masks, `sparsify` and a SparseNet return the same numbers."""
    sparsity = sparse.Sparsity(sparse.Layout(lambda path, leaf: path == "hidden/kernel"))
    update = jax.jit(partial(sparse.step_and_adapt, optimizer=EXACT, sparsity=sparsity))
    optimizer = make(drop_fraction=0.25)
    params = whole_tree(jax.random.key(9))
    masks = sparse.get_masks(optimizer.init(params))
    params = sparse.apply_masks(params, masks, sparse.Layout(is_hidden_kernel))
    net = sparse.SparseNet(params, masks, EXACT.init(params))
    for number, _, (trained, state) in train(optimizer, params):
        key = jax.random.fold_in(jax.random.key(0), number)
        net = update(number % PERIOD == 0, key, net, whole_tree(jax.random.key(number)), 0.25)
        chex.assert_trees_all_equal((trained, sparse.get_masks(state), state.inner), tuple(net))


def test_without_sparsity_it_is_the_bare_optimizer():
    inner = optax.adamw(1e-2)
    optimizer = make(inner, sparsity=0.0, period=2)
    params = bare = random_tree(jax.random.key(9))
    state, bare_state = optimizer.init(params), inner.init(bare)
    for number in range(1, 3):  # not jitted, so that both are equal to the last bit
        gradients = random_tree(jax.random.key(number))
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        updates, bare_state = inner.update(gradients, bare_state, bare)
        bare = optax.apply_updates(bare, updates)
        chex.assert_trees_all_equal((params, state.inner), (bare, bare_state))


def test_eager_equals_jit_and_its_own_counter_equals_the_callers():
    optimizer = make()
    *_, (number, before, after) = train(optimizer, whole_tree(jax.random.key(9)), PERIOD)
    updates, state = optimizer.update(whole_tree(jax.random.key(number)), *before[::-1])
    found = (optax.apply_updates(before[0], updates), state._replace(key=None))
    chex.assert_trees_all_equal(found, (after[0], after[1]._replace(key=None)))
    assert state.step == PERIOD


def test_a_scan_equals_a_loop():
    optimizer, params = make(), whole_tree(jax.random.key(9))
    gradients = [whole_tree(jax.random.key(number)) for number in range(1, 5)]

    def body(carry, gradient):
        updates, state = optimizer.update(gradient, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    (scanned, state), _ = jax.lax.scan(body, (params, optimizer.init(params)), stacked)
    *_, (_, _, (looped, expected)) = train(optimizer, params, steps=4)
    chex.assert_trees_all_equal((scanned, state.masks), (looped, expected.masks))


def test_members_of_a_vmap_have_different_masks_and_equal_a_loop():
    keys = jax.random.split(jax.random.key(5), 3)
    params = whole_tree(jax.random.key(9))
    init = lambda key: make(key=key).init(params)  # noqa: E731
    states = jax.vmap(init)(keys)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), params)
    step = jax.vmap(step_of(make()), (0, 0, None, None))
    assert len({mask.tobytes() for mask in masks_of(states)[0]}) == 3
    for number in range(1, 5):
        members, states = step(members, states, whole_tree(jax.random.key(number)), number)
    for index, key in enumerate(keys):
        *_, (_, _, (alone, state)) = train(make(key=key), params, steps=4)
        one = jax.tree.map(lambda leaf, index=index: leaf[index], (members, states.masks))
        chex.assert_trees_all_equal(one, (alone, state.masks))


def test_the_callers_step_stays_a_branch_under_vmap():
    params = random_tree(jax.random.key(9))
    states = jax.vmap(lambda key: make(key=key).init(params))(
        jax.random.split(jax.random.key(0), 2)
    )
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), params)

    def branches(number):
        update = lambda g, s, p: make().update(g, s, p, step=number)  # noqa: E731
        return str(jax.make_jaxpr(jax.vmap(update))(members, states, members)).count(" cond[")

    assert branches(jnp.int32(1)) == 1
    # The counterpart: a counter in each member's state makes an adaptation a select.
    assert branches(None) == 0


# --- Schedules -----------------------------------------------------------------------------------


def changes(optimizer, steps=9):
    return [
        number
        for number, before, (_, state) in train(optimizer, random_tree(jax.random.key(9)), steps)
        if any((a != b).any() for a, b in zip(masks_of(before[1]), masks_of(state), strict=True))
    ]


def test_it_adapts_at_multiples_of_the_period_up_to_the_last_step():
    assert changes(make()) == [3, 6, 9]
    assert changes(make(last_step=7)) == [3, 6]
    assert changes(make(rules=sparse.STATIC)) == []
    assert changes(make(drop_fraction=sparse.linear_fraction(0.5, 6))) == [3]


def test_one_trace_serves_all_steps_and_step_0_adapts_nothing():
    chex.clear_trace_counter()
    optimizer, params = make(), random_tree(jax.random.key(9))
    state = optimizer.init(params)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def masks_after(number):
        _, new = optimizer.update(params, state, params, step=number)
        return new.masks

    chex.assert_trees_all_equal(masks_after(0), state.masks)
    assert (masks_after(PERIOD)["hidden"]["kernel"] != masks_after(0)["hidden"]["kernel"]).any()


def test_groups_hold_at_the_start_and_after_adaptations():
    """Checks 2 of 3 connections in three groups of inputs, and a fan-in by the paper's λ."""
    two_of_three = sparse.SET._replace(groups=sparse.n_of_m(2, 3))
    optimizer = make(sparsity=None, rules=two_of_three, period=1, drop_fraction=0.2)
    for _, before, (_, state) in train(optimizer, random_tree(jax.random.key(9)), steps=2):
        (mask,), (old,) = masks_of(state), masks_of(before[1])
        assert (mask.reshape(3, 3, 7).sum(axis=1) == 2).all() and (mask != old).any()

    fan_in = sparse.SET._replace(groups=sparse.constant_fan_in())
    optimizer = make(sparsity=None, density=sparse.erdos_renyi(2), rules=fan_in, period=1)
    for _, _, (_, state) in train(optimizer, random_tree(jax.random.key(9)), steps=1):
        # λ (n_in + n_out) / (n_in n_out) of nine inputs
        assert (masks_of(state)[0].sum(axis=0) == round(2 * (9 + 7) / 7)).all()


@pytest.mark.parametrize(
    "settings",
    [
        *({"rules": rules} for rules in (sparse.PAPER, sparse.RIGL, sparse.SNFS, sparse.STATIC)),
        {"rules": sparse.SET._replace(groups=sparse.n_of_m(2, 3)), "sparsity": None},
        {"sparsity": sparse.Gradual(final=0.75, begin=3, end=6)},
    ],
    ids=["paper", "rigl", "snfs", "static", "n_of_m", "gradual"],
)
def test_no_update_sorts(settings):
    optimizer, params = make(**settings), random_tree(jax.random.key(9))
    assert not sorts(optimizer.update, params, optimizer.init(params), params)


def test_gradual_pruning_starts_dense_and_follows_the_polynomial():
    gradual = sparse.Gradual(final=0.75, begin=2, end=6)
    optimizer = make(optax.adam(1e-2), gradual, period=2, distribution="uniform")
    for number, before, (params, state) in train(optimizer, random_tree(jax.random.key(9))):
        sparse.check(params, sparse.get_masks(state), state)
        for mask, old in zip(masks_of(state), masks_of(before[1]), strict=True):
            assert not (mask & ~old).any()
            share = 0.0 if number < 2 else slow.gradual(0.75, 0.0, 2, 6, number // 2 * 2)
            assert mask.sum() == round((1 - share) * mask.size)


def test_snfs_grows_by_an_average_of_the_dense_gradients(capsys):
    optimizer = make(rules=sparse.SNFS, momentum_decay=0.5, period=4)
    *_, (_, before, (params, state)) = train(optimizer, random_tree(jax.random.key(9)), steps=4)
    gradients = [kernels_of(whole_tree(jax.random.key(number)))[0] for number in range(1, 5)]
    momentum = slow.momentum(0.5, gradients)
    np.testing.assert_array_equal(kernels_of(state.momentum)[0], momentum)
    old, new = masks_of(before[1])[0], masks_of(state)[0]
    grown = new & ~old
    np.testing.assert_array_equal(grown, slow.grow_strongest(momentum, ~old, grown.sum()))
    sparse.summary(params, sparse.get_masks(state), state)
    printed = capsys.readouterr().out
    assert "momentum/hidden/kernel, 63 numbers, 252 bytes" in printed and "bias" not in printed
