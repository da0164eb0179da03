"""A tree of parameters: which leaves change, each leaf and each network on its own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from dsrl_jax.sparse import masks as masks_lib
from tests import reference


def is_hidden_kernel(path, leaf):
    return len(leaf.shape) == 2 and not path.startswith("output")


# Two critics on the leading axis; their output layer is dense.
SHAPES = {
    "hidden_1": {"bias": (2, 7), "kernel": (2, 9, 7)},
    "hidden_2": {"bias": (2, 7), "kernel": (2, 9, 7)},
    "output": {"bias": (2, 1), "kernel": (2, 7, 1)},
}
HIDDEN = ["hidden_1", "hidden_2"]
TWINS = dict(layout=sparse.Layout(is_hidden_kernel, 1))

draw = jax.jit(sparse.draw_masks, static_argnames=("density", "layout", "exact"))
draw_masks = partial(draw, **TWINS)
adapt = jax.jit(partial(sparse.adapt, **TWINS))
maintain_sparsity = jax.jit(partial(sparse.maintain_sparsity, **TWINS), static_argnames="ties")


@pytest.fixture
def params(rng):
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        SHAPES,
        is_leaf=lambda node: isinstance(node, tuple),
    )


@pytest.fixture
def masks(key, params):
    return draw_masks(key, params, 0.4)


def hidden_kernels(*trees):
    """The sparse kernels of every network, one by one, aligned over the trees."""
    for layer in HIDDEN:
        for network in range(2):
            yield [np.asarray(tree[layer]["kernel"][network]) for tree in trees]


def dense_leaves(tree):
    return [tree[layer]["bias"] for layer in SHAPES] + [tree["output"]["kernel"]]


# --- Draw ----------------------------------------------------------------------------------------


def test_draws_full_boolean_arrays_that_are_true_where_dense(params, masks):
    assert jax.tree.map(jnp.shape, masks) == SHAPES
    assert all(mask.dtype == bool for mask in jax.tree.leaves(masks))
    assert all(mask.all() for mask in dense_leaves(masks))
    assert all(0 < mask.sum() < mask.size for (mask,) in hidden_kernels(masks))


def test_every_leaf_and_every_network_draws_its_own(masks):
    drawn = [mask.tobytes() for (mask,) in hidden_kernels(masks)]
    assert len(set(drawn)) == 4


def test_the_key_alone_decides_the_draw(key, params, masks):
    again = draw_masks(key, jax.tree.map(jnp.zeros_like, params), 0.4)
    jax.tree.map(np.testing.assert_array_equal, again, masks)
    other = draw_masks(jax.random.key(1), params, 0.4)
    assert all((one != two).any() for one, two in hidden_kernels(other, masks))


def test_density_by_layer_sees_path_and_shape_of_one_network(key, params):
    densities = {("hidden_1/kernel", (9, 7)): 1.0, ("hidden_2/kernel", (9, 7)): 0.0}
    masks = draw_masks(key, params, lambda path, shape: densities[path, shape])
    assert masks["hidden_1"]["kernel"].all()
    assert not masks["hidden_2"]["kernel"].any()


def test_an_exact_draw_gives_every_network_the_same_count(key, params):
    masks = draw_masks(key, params, 0.4, exact=True)
    assert [mask.sum() for (mask,) in hidden_kernels(masks)] == [25] * 4  # round(0.4 * 63)


def test_by_default_matrices_are_sparse_and_vectors_are_dense_stacked_or_not(key, params):
    for stacked_axes in (0, 1):
        masks = draw(key, params, 0.0, layout=sparse.Layout(stacked_axes=stacked_axes))
        assert masks["hidden_1"]["bias"].all()
        assert not masks["output"]["kernel"].any()


def test_by_default_norms_and_whole_numbers_are_dense(key):
    dense = {
        "LayerNorm_0": {"scale": (3, 4), "anything": (3, 4)},
        "layer": {"b": (3, 4)},
        "vector": (12,),
    }
    params = jax.tree.map(jnp.zeros, dense, is_leaf=lambda node: isinstance(node, tuple))
    params |= {"indices": jnp.zeros((3, 4), jnp.int32), "table": jnp.zeros((3, 4), jnp.bfloat16)}
    masks = draw(key, params, 0.0)
    assert not masks.pop("table").any()
    assert all(mask.all() for mask in jax.tree.leaves(masks))


def test_leaves_may_differ_in_how_many_axes_are_stacked(key):
    params = {"scanned": jnp.zeros((3, 9, 8)), "head": jnp.zeros((8, 9))}
    stacked_axes = lambda path, shape: int(path == "scanned")  # noqa: E731
    masks = draw(key, params, 0.5, layout=sparse.Layout(stacked_axes=stacked_axes), exact=True)
    assert [int(mask.sum()) for mask in masks["scanned"]] == [36] * 3
    assert len(np.unique(np.reshape(masks["scanned"], (3, 72)), axis=0)) == 3


def test_networks_may_be_stacked_twice(key):
    # Three members with two critics each.
    params = {"bias": jnp.zeros((3, 2, 8)), "kernel": jnp.zeros((3, 2, 9, 8))}
    masks = draw(key, params, 0.5, layout=sparse.Layout(stacked_axes=2))
    assert masks["bias"].all()
    assert len(np.unique(np.reshape(masks["kernel"], (6, 72)), axis=0)) == 6
    assert sparse.count_connections(masks, sparse.Layout(stacked_axes=2)) == masks["kernel"].sum()


def test_vmap_over_keys_equals_a_loop(key, params):
    keys = jax.random.split(key, 5)
    batched = jax.jit(jax.vmap(lambda one: sparse.draw_masks(one, params, 0.4, **TWINS)))(keys)
    looped = [draw_masks(one, params, 0.4) for one in keys]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *looped)
    jax.tree.map(np.testing.assert_array_equal, batched, stacked)


# --- Apply ---------------------------------------------------------------------------------------


def test_absent_weights_become_0_and_all_else_stays(params, masks):
    applied = sparse.apply_masks(params, masks, **TWINS)
    for new, old, mask in hidden_kernels(applied, params, masks):
        np.testing.assert_array_equal(new, np.where(mask, old, 0))
    for new, old in zip(dense_leaves(applied), dense_leaves(params), strict=True):
        assert new is old


def test_a_mask_selects_and_does_not_multiply(params, masks):
    broken = jax.tree.map(lambda leaf, mask: jnp.where(mask, leaf, jnp.nan), params, masks)
    applied = sparse.apply_masks(broken, masks, **TWINS)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(applied))


# --- Adapt ---------------------------------------------------------------------------------------


def test_every_network_adapts_as_the_reference_on_its_own_count(key, params, masks):
    new_params, new_masks = adapt(key, params, masks, 0.2)
    for case in hidden_kernels(params, masks, new_params, new_masks):
        reference.check_paper_adaptation(*case, 0.2)
    counts = {int(mask.sum()) for (mask,) in hidden_kernels(masks)}
    assert len(counts) > 1  # A shared count would show.


ALIKE = {"x": (9, 7), "y": (4, 7), "z": (9, 7), "zz": (9, 7)}


@pytest.mark.parametrize("leaves_per_loop", [1, 2, 4])
@pytest.mark.parametrize(
    ("rules", "stacked"), [(sparse.PAPER, ()), (sparse.PAPER, (2,)), (sparse.RIGL, ())]
)
def test_a_leaf_adapts_in_the_same_way_whatever_others_of_its_form_there_are(
    key, rng, rules, stacked, leaves_per_loop
):
    """Its place in the tree gives its key; those of one form can be adapted in one loop."""

    def draw():
        shapes = {name: (*stacked, *shape) for name, shape in ALIKE.items()}
        return {name: jnp.asarray(rng.normal(size=shapes[name]), jnp.float32) for name in shapes}

    def only(name, tree, dtype=jnp.float32):
        return {other: jnp.ones(1, dtype) for other in ALIKE} | {name: tree[name]}

    params, gradients = draw(), draw()
    layout = sparse.Layout(stacked_axes=len(stacked))
    masks = sparse.draw_masks(key, params, 0.4, layout=layout)
    params = sparse.apply_masks(params, masks, layout)
    options = {"rules": rules, "layout": layout, "leaves_per_loop": leaves_per_loop}
    adapt = jax.jit(partial(sparse.adapt, **options))
    together = adapt(key, params, masks, 0.5, gradients=gradients)
    for name in ALIKE:
        alone = adapt(
            key, only(name, params), only(name, masks, bool), 0.5, gradients=only(name, gradients)
        )
        for tree, single in zip(together, alone, strict=True):
            np.testing.assert_array_equal(tree[name], single[name])


@pytest.mark.parametrize("leaves_per_loop", [1, 2, 4])
def test_leaves_of_one_form_are_pruned_each_to_its_own_density(rng, leaves_per_loop):
    params = {name: jnp.asarray(rng.normal(size=(10, 7)), jnp.float32) for name in "xyz"}
    masks = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
    densities = {"x": 0.2, "y": 0.5, "z": 0.8}
    pruned, kept = masks_lib.prune(
        params,
        masks,
        lambda path, shape: densities[path],
        leaves_per_loop=leaves_per_loop,
    )
    assert {name: int(mask.sum()) for name, mask in kept.items()} == {"x": 14, "y": 35, "z": 56}
    for name, kernel in params.items():
        assert abs(kernel)[kept[name]].min() > abs(kernel)[~kept[name]].max()
        np.testing.assert_array_equal(pruned[name], jnp.where(kept[name], kernel, 0))


def test_the_program_does_not_grow_with_layers_of_one_form_that_share_a_loop(key):
    def loops(layers):
        params = {f"layer_{i}": jnp.ones((9, 7)) for i in range(layers)}
        masks = jax.tree.map(lambda leaf: leaf > 0, params)
        pruned = partial(masks_lib.prune, density=lambda path, shape: 0.5)
        for change in (partial(sparse.adapt, key, drop_fraction=0.5), pruned):
            change = partial(change, leaves_per_loop=4)
            text = jax.jit(change).lower(params=params, masks=masks).as_text()
            yield text.count("stablehlo.while")

    assert list(loops(2)) == list(loops(4))
    assert all(more > less for more, less in zip(loops(5), loops(4), strict=True))


def test_dense_leaves_do_not_adapt(key, params, masks):
    new_params, new_masks = adapt(key, params, masks, 0.2)
    assert jax.tree.map(jnp.shape, (new_params, new_masks)) == (SHAPES, SHAPES)
    for new, old in zip(dense_leaves(new_params), dense_leaves(params), strict=True):
        np.testing.assert_array_equal(new, old)
    assert all(mask.all() for mask in dense_leaves(new_masks))


def test_every_leaf_and_every_network_grows_elsewhere(key, params, masks):
    def repeat_first(tree):
        kernel = jnp.stack([tree["hidden_1"]["kernel"][0]] * 2)
        return tree | {layer: tree[layer] | {"kernel": kernel} for layer in HIDDEN}

    # The same layer four times: what differs afterwards is the growth.
    _, new_masks = adapt(key, repeat_first(params), repeat_first(masks), 0.2)
    assert len({mask.tobytes() for (mask,) in hidden_kernels(new_masks)}) == 4


# --- Maintain sparsity ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ties, expected",
    [("exact", reference.keep_largest), ("strict", reference.keep_largest_strict)],
)
def test_a_target_keeps_as_many_as_its_own_online_network(params, masks, ties, expected):
    target = jax.tree.map(jnp.round, params)  # ties, and about four zeros in ten
    kept = maintain_sparsity(target, masks, ties=ties)
    for new, old, mask in hidden_kernels(kept, target, masks):
        np.testing.assert_array_equal(new, expected(old, mask.sum()))
        if ties == "exact":
            assert np.count_nonzero(new) == min(np.count_nonzero(old), mask.sum())
    for new, old in zip(dense_leaves(kept), dense_leaves(target), strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_target_with_fewer_candidates_passes_unchanged(params, masks):
    # As many connections as the online network, less one.
    target = sparse.apply_masks(params, masks, **TWINS)
    target["hidden_2"]["kernel"] = target["hidden_2"]["kernel"].at[:, 4].set(0)
    for ties in ("exact", "strict"):
        kept = maintain_sparsity(target, masks, ties=ties)
        jax.tree.map(np.testing.assert_array_equal, kept, target)


# --- Count ---------------------------------------------------------------------------------------


def test_counts_all_kernels_dense_ones_included_and_no_bias(masks):
    hidden = sum(int(mask.sum()) for (mask,) in hidden_kernels(masks))
    count = jax.jit(partial(sparse.count_connections, layout=sparse.Layout(stacked_axes=1)))(masks)
    assert count == hidden + 2 * 7  # the output layers of both critics
    assert count.dtype == jnp.int32
    only_hidden = sparse.count_connections(masks, sparse.Layout(is_hidden_kernel, 1))
    assert only_hidden == hidden
    assert sparse.count_connections({}) == 0


# --- Errors --------------------------------------------------------------------------------------


def test_rejects_a_share_outside_0_to_1(key, params, masks):
    for density in (1.5, lambda path, shape: 1.5):
        with pytest.raises(ValueError, match=r"density must be in \[0, 1\], got 1.5"):
            draw_masks(key, params, density)
    with pytest.raises(ValueError, match=r"drop_fraction must be in \[0, 1\], got -0.1"):
        sparse.adapt(key, params, masks, -0.1, **TWINS)


def test_a_tree_without_leaves_stays_as_it_is(key):
    assert sparse.adapt(key, {}, {}, 0.5) == ({}, {})
