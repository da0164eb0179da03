"""A network with its optimizer: what gradient steps and adaptations leave off the mask, and on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrl_jax import sparse
from tests import reference
from tests.branches import branch_conditions


def is_hidden_kernel(path, leaf):
    return path == "hidden/kernel" and len(leaf.shape) == 2


SHAPES = {
    "hidden": {"bias": (7,), "kernel": (9, 7)},  # the only leaf of this shape
    "output": {"bias": (2,), "kernel": (7, 2)},
}
PAPER = sparse.Sparsity(sparse.Layout(is_hidden_kernel))
OFFICIAL = sparse.Sparsity(
    PAPER.layout, rules=sparse.OFFICIAL, moments="dense", target_ties="strict"
)
PRESETS = [pytest.param(PAPER, id="paper"), pytest.param(OFFICIAL, id="official")]
ADAM = optax.chain(optax.add_decayed_weights(2e-4), optax.adam(1e-2))
# With gradients that are whole numbers, float32 holds every result of this one exactly.
EXACT = optax.sgd(0.25, momentum=0.5)
FRACTION = 0.25


@jax.jit
def random_tree(key):
    keys = jax.random.split(key, 4)
    shapes, structure = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    draw = [jax.random.normal(one, s) for one, s in zip(keys, shapes, strict=True)]
    return structure.unflatten(draw)


def whole_tree(key):
    return jax.tree.map(lambda leaf: jnp.round(2 * leaf), random_tree(key))


def make_net(key, optimizer, sparsity, density=0.4):
    return sparse.init_net(key, random_tree(key), optimizer, density, sparsity)


def train(key, net, optimizer, sparsity):
    """Eight updates, an adaptation at the third and the sixth: (due, before, gradients, after)."""
    update = jax.jit(partial(sparse.step_and_adapt, optimizer=optimizer, sparsity=sparsity))
    for step in range(1, 9):
        key_update, due, before = jax.random.fold_in(key, step), step % 3 == 0, net
        gradients = whole_tree(key_update)
        net = update(due, key_update, before, gradients, FRACTION)
        yield due, before, gradients, net


def kernel_of(net):
    return np.asarray(net.params["hidden"]["kernel"])


def mask_of(net):
    return np.asarray(net.masks["hidden"]["kernel"])


def moments_of(net):
    """The optimizer's arrays for the sparse kernel."""
    leaves = jax.tree.leaves(net.opt_state)
    return [np.asarray(leaf) for leaf in leaves if leaf.shape == SHAPES["hidden"]["kernel"]]


def assert_trees_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


# --- Start ---------------------------------------------------------------------------------------


def test_a_net_starts_masked_with_an_optimizer_for_what_is_left(key):
    net = make_net(key, ADAM, PAPER)
    drawn = sparse.draw_masks(key, net.params, 0.4, layout=PAPER.layout)
    assert_trees_equal(net.masks, drawn)
    dense = random_tree(key)
    np.testing.assert_array_equal(
        kernel_of(net), np.where(mask_of(net), dense["hidden"]["kernel"], 0)
    )
    assert_trees_equal(net.params["output"], dense["output"])
    assert_trees_equal(net.opt_state, ADAM.init(net.params))


def test_a_net_may_start_with_the_exact_count(key):
    net = make_net(key, ADAM, PAPER._replace(exact_count=True))
    assert mask_of(net).sum() == 25  # round(0.4 * 63)


# --- Updates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", PRESETS)
def test_an_update_is_a_gradient_step_and_where_due_an_adaptation(key, sparsity):
    step = jax.jit(partial(sparse.gradient_step, optimizer=EXACT, sparsity=sparsity))
    adapt = jax.jit(partial(sparse.adapt_net, optimizer=EXACT, sparsity=sparsity))
    net = make_net(key, EXACT, sparsity)
    net = net._replace(params=jax.tree.map(jnp.round, net.params))
    for number, (due, before, gradients, after) in enumerate(train(key, net, EXACT, sparsity), 1):
        stepped = step(before, gradients)
        if due:
            assert_trees_equal(after, adapt(jax.random.fold_in(key, number), stepped, FRACTION))
        else:
            masked = sparse.apply_masks(stepped.params, before.masks, layout=PAPER.layout)
            assert_trees_equal(after, stepped._replace(params=masked))

        layer = kernel_of(stepped), mask_of(stepped), kernel_of(after), mask_of(after)
        if due and sparsity is PAPER:
            reference.check_paper_adaptation(*layer, FRACTION)
        elif due:
            reference.check_official_adaptation(*layer, FRACTION)
        assert_trees_equal(after.params["output"], stepped.params["output"])
        assert mask_of(after).sum() == mask_of(net).sum()


@pytest.mark.parametrize(
    "optimizer, n_moments", [(ADAM, 2), (EXACT, 1)], ids=["adam with decay", "momentum"]
)
def test_sparse_moments_leave_nothing_off_the_mask(key, optimizer, n_moments):
    net = make_net(key, optimizer, PAPER)
    assert len(moments_of(net)) == n_moments
    for due, before, _, after in train(key, net, optimizer, PAPER):
        arrays = [kernel_of(after), *moments_of(after)]
        grown = mask_of(after) & ~mask_of(before)
        assert grown.any() == due
        for array in arrays:
            assert not array[~mask_of(after)].any()
            assert not array[grown].any()  # a new connection starts from 0, without a past
        kept = mask_of(after) & mask_of(before)
        assert np.mean([array[kept] != 0 for array in arrays]) > 0.5  # the others keep theirs


def test_a_connection_that_comes_back_at_once_keeps_its_moments(key):
    # A full layer that may regrow what it just dropped regrows all of it, here with weight 0; the
    # connection was in the mask before and after, and its optimizer's state stays.
    sparsity = PAPER._replace(rules=sparse.Rules(grow="empty_after_drop", grown_weight="zero"))
    net = make_net(key, EXACT, sparsity, density=1.0)
    net = sparse.gradient_step(net, random_tree(key), EXACT, sparsity)
    after = jax.jit(partial(sparse.adapt_net, optimizer=EXACT, sparsity=sparsity))(
        key, net, FRACTION
    )
    came_back = kernel_of(after) == 0
    assert came_back.sum() == 15 and mask_of(after).all()  # floor(0.25 * 63)
    for before, moment in zip(moments_of(net), moments_of(after), strict=True):
        np.testing.assert_array_equal(moment, before)


def test_dense_moments_follow_the_dense_gradient_and_the_mask_comes_after(key):
    net = make_net(key, ADAM, OFFICIAL)
    for due, before, gradients, after in train(key, net, ADAM, OFFICIAL):
        absent, grown = ~mask_of(after), mask_of(after) & ~mask_of(before)
        pushed = np.asarray(gradients["hidden"]["kernel"]) != 0
        assert not kernel_of(after)[absent].any()
        for moment in moments_of(after):
            assert moment[absent & pushed].all()
        assert (grown & pushed).any() == due
        assert kernel_of(after)[grown & pushed].all()  # one step of the optimizer off 0


def test_the_gradient_of_an_absent_weight_has_no_effect_with_sparse_moments(key):
    net = make_net(key, ADAM, PAPER)
    gradients = random_tree(key)
    masked = sparse.apply_masks(gradients, net.masks, layout=PAPER.layout)
    broken = jax.tree.map(lambda leaf, mask: jnp.where(mask, leaf, jnp.nan), gradients, net.masks)
    step = jax.jit(partial(sparse.gradient_step, optimizer=ADAM, sparsity=PAPER))
    assert_trees_equal(step(net, broken), step(net, masked))


def test_the_last_adaptation_may_drop_without_growing(key):
    net = make_net(key, ADAM, OFFICIAL)
    adapt = jax.jit(partial(sparse.adapt_net, optimizer=ADAM, sparsity=OFFICIAL))
    last = adapt(key, net, FRACTION, grow=False)
    layer = kernel_of(net), mask_of(net), kernel_of(last), mask_of(last)
    reference.check_official_adaptation(*layer, FRACTION, final=True)
    assert mask_of(last).sum() < mask_of(net).sum()


# --- Limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", PRESETS)
def test_all_true_masks_train_as_plain_optax_does(key, sparsity):
    # Everything is sparse and everything connected. The steps are not jitted, so that they are
    # equal to the last bit; the adaptation in their midst only moves numbers.
    sparsity = sparsity._replace(layout=sparse.Layout(lambda path, leaf: True))
    adapt = jax.jit(partial(sparse.adapt_net, optimizer=ADAM, sparsity=sparsity))
    params = random_tree(key)["hidden"]
    opt_state = ADAM.init(params)
    net = sparse.init_net(key, params, ADAM, 1.0, sparsity)
    for step in range(5):
        gradients = random_tree(jax.random.fold_in(key, step))["hidden"]
        updates, opt_state = ADAM.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)

        net = sparse.gradient_step(net, gradients, ADAM, sparsity)
        if step == 2:
            net = adapt(key, net, FRACTION)
        assert_trees_equal((net.params, net.opt_state), (params, opt_state))
        assert all(mask.all() for mask in jax.tree.leaves(net.masks))


@pytest.mark.parametrize("sparsity", PRESETS)
def test_not_due_is_the_same_as_a_python_value_or_traced(key, sparsity):
    arguments = key, make_net(key, EXACT, sparsity), whole_tree(jax.random.key(1)), FRACTION
    update = partial(sparse.step_and_adapt, optimizer=EXACT, sparsity=sparsity)
    assert_trees_equal(jax.jit(partial(update, False))(*arguments), update(False, *arguments))
    traced = jax.jit(update).trace(jnp.array(False), *arguments).jaxpr
    static = jax.jit(partial(update, False)).trace(*arguments).jaxpr
    assert "while" in str(traced) and "while" not in str(static)


def test_an_unbatched_due_stays_a_branch_under_vmap(key):
    member = key, make_net(key, ADAM, PAPER), random_tree(key), jnp.float32(FRACTION)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), member)
    update = partial(sparse.step_and_adapt, optimizer=ADAM, sparsity=PAPER)

    def conditions(due, axis):
        batched = jax.vmap(update, in_axes=(axis, 0, 0, 0, 0))
        return branch_conditions(batched, due, *members)

    # All the work of an adaptation is inside the one branch.
    assert conditions(jnp.array(True), None) == [()]
    assert conditions(jnp.ones(3, bool), 0) == [(3,)]  # every step would pay for one


# --- Target --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sparsity, keep",
    [(PAPER, reference.keep_largest), (OFFICIAL, reference.keep_largest_strict)],
    ids=["paper", "official"],
)
def test_the_target_is_averaged_and_pruned_as_the_reference(key, sparsity, keep):
    # Quarters of small whole numbers: float32 holds them exactly, and many are equal.
    net = make_net(key, ADAM, sparsity)
    net = net._replace(params=jax.tree.map(jnp.round, net.params))
    average = jax.jit(partial(sparse.average_target, True, sparsity=sparsity))
    weakest = sparse.init_target(net, sparsity).weakest
    for number in range(20):
        target = whole_tree(jax.random.fold_in(key, number))
        # The first search begins knowing nothing, the others where another one ended.
        new, weakest = average(sparse.Target(target, weakest), net, 0.25)

        expected = jax.tree.map(lambda *leaves: reference.polyak(*leaves, 0.25), target, net.params)
        hidden = expected["hidden"]
        assert np.count_nonzero(hidden["kernel"]) > mask_of(net).sum()
        hidden["kernel"] = keep(hidden["kernel"], mask_of(net).sum())
        assert_trees_equal(new, expected)


def test_tau_one_copies_the_online_network(key):
    net = make_net(key, ADAM, PAPER)
    for sparsity in (PAPER, OFFICIAL):
        target = sparse.init_target(net, sparsity)._replace(params=random_tree(key))
        assert_trees_equal(
            sparse.average_target(True, target, net, 1.0, sparsity).params, net.params
        )


def test_tau_zero_keeps_a_target_with_as_many_connections_elsewhere(key):
    net = make_net(key, ADAM, PAPER)
    params = jax.tree.map(jnp.flip, net.params)
    for sparsity in (PAPER, OFFICIAL):
        target = sparse.init_target(net, sparsity)._replace(params=params)
        assert_trees_equal(sparse.average_target(True, target, net, 0.0, sparsity).params, params)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("due", [True, False])
def test_an_average_keeps_the_type_of_its_target(key, dtype, due):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), random_tree(key))
    net = sparse.init_net(key, params, ADAM, 0.5, PAPER)
    target = sparse.init_target(net, PAPER)
    averaged = jax.jit(partial(sparse.average_target, sparsity=PAPER))(
        jnp.asarray(due), target, net, jnp.float32(0.25)
    )
    assert {leaf.dtype.name for leaf in jax.tree.leaves(averaged.params)} == {dtype}


def test_what_an_optimizer_makes_of_zeros_does_not_reach_a_grown_connection(key):
    optimizer = optax.adabelief(1e-2, eps_root=1e-3)
    for due, before, _, after in train(key, make_net(key, optimizer, PAPER), optimizer, PAPER):
        old, new = before.masks["hidden"]["kernel"], after.masks["hidden"]["kernel"]
        if due:
            assert (new & ~old).any() and before.opt_state[0].nu["hidden"]["kernel"][~old].any()
            assert not after.opt_state[0].nu["hidden"]["kernel"][~(new & old)].any()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"moments": "spare"}, "moments must be one of sparse, dense, got 'spare'"),
        ({"target_ties": "exat"}, "target_ties must be one of exact, strict, got 'exat'"),
        ({"rules": sparse.Rules(grow_by="size")}, "rules.grow_by must be .* got 'size'"),
        ({"rules": sparse.Rules(grown_weight="old")}, "rules.grown_weight must be .* got 'old'"),
    ],
)
def test_a_misspelt_setting_is_refused(key, wrong, message):
    with pytest.raises(ValueError, match=message):
        make_net(key, EXACT, PAPER._replace(**wrong))
