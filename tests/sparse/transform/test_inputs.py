"""Tests the inputs of `sparsify`: other floats, devices, outer transformations; and errors."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrl_jax import sparse
from tests.sparse.sparsify_cases import (
    EXACT,
    make,
    masks_of,
    random_tree,
    train,
    whole_tree,
)

# --- Dtypes, devices, wrapping --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats(dtype):
    with jax.enable_x64(dtype == "float64"):
        start = random_tree(jax.random.key(9), jnp.dtype(dtype))
        gradients = lambda key: random_tree(key, jnp.dtype(dtype))  # noqa: E731
        optimizer = make(optax.adam(1e-2), rules=sparse.RIGL, period=2)
        for _, _, (params, state) in train(optimizer, start, 2, gradients):
            assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
            sparse.check(params, sparse.get_masks(state), state)


def test_updates_of_a_narrower_dtype_still_leave_exactly_0():
    params = random_tree(jax.random.key(9))
    optimizer = make(
        optax.chain(EXACT, optax.stateless(lambda u, _: jax.tree.map(jnp.bfloat16, u)))
    )
    updates, state = optimizer.update(params, optimizer.init(params), params)
    sparse.check(optax.apply_updates(params, updates), sparse.get_masks(state))


def test_a_donated_state_leaves_the_callers_key():
    key = jax.random.key(3)
    optimizer, params = make(key=key), random_tree(jax.random.key(9))
    state = optimizer.init(params)
    jax.block_until_ready(jax.jit(optimizer.update, donate_argnums=1)(params, state, params))
    assert not key.is_deleted()


def test_on_a_mesh_with_replicated_params_and_not_with_others():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    optimizer, params = make(), whole_tree(jax.random.key(9))
    state = optimizer.init(params)

    def update(average, gradients, state, params):
        if average:
            gradients = jax.lax.pmean(gradients, "data")
        return optimizer.update(gradients, state, params)

    def on_mesh(average, params_are):
        specs = (split, everywhere, params_are)
        return jax.shard_map(
            partial(update, average), mesh=mesh, in_specs=specs, out_specs=everywhere
        )

    found = jax.jit(on_mesh(True, everywhere))(params, state, params)
    chex.assert_trees_all_equal(found[0], optimizer.update(params, state, params)[0])
    with pytest.raises(
        ValueError, match="gradients must be the same on all devices, got hidden/bias"
    ):
        on_mesh(False, everywhere)(params, state, params)
    with pytest.raises(ValueError, match="params must be the same on all devices, .* over data"):
        on_mesh(True, split)(params, state, params)


def test_it_may_stand_inside_other_transformations():
    params = random_tree(jax.random.key(9))
    wrapped = optax.MultiSteps(optax.chain(optax.clip(1.0), make()), 2).gradient_transformation()
    state = wrapped.init(params)
    for _ in range(2):
        updates, state = jax.jit(wrapped.update)(params, state, params)
        params = optax.apply_updates(params, updates)
    masks = sparse.get_masks(state)
    assert jax.tree.structure(masks) == jax.tree.structure(params)
    sparse.check(params, masks, state)


def test_update_passes_other_arguments_on_to_the_optimizer():
    def update(updates, state, params=None, *, scale, **_):
        return jax.tree.map(lambda leaf: scale * leaf, updates), state

    inner = optax.GradientTransformationExtraArgs(lambda params: (), update)
    optimizer, params = make(inner), random_tree(jax.random.key(9))
    updates, _ = optimizer.update(params, optimizer.init(params), params, scale=2.0)
    np.testing.assert_array_equal(updates["hidden"]["bias"], 2 * params["hidden"]["bias"])


def test_its_updates_have_derivatives():
    """Meta-learning differentiates through an optimizer's step."""
    optimizer, params = make(optax.sgd(0.5)), random_tree(jax.random.key(9))
    state = optimizer.init(params)

    def total(scale):
        gradients = jax.tree.map(lambda leaf: scale * jnp.ones_like(leaf), params)
        updates, _ = optimizer.update(gradients, state, params)
        return sum(leaf.sum() for leaf in jax.tree.leaves(updates))

    connections = sum(mask.sum() for mask in masks_of(state)) + 7 + 4 + 28
    np.testing.assert_allclose(jax.grad(total)(1.0), -0.5 * connections, rtol=1e-6)


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "give either sparsity or density, got neither"),
        ({"sparsity": 0.5, "density": 0.5}, "got sparsity and density"),
        ({"sparsity": 1.5}, r"sparsity must be in \[0, 1\), got 1.5"),
        ({"sparsity": {"*": 1.0}}, r"sparsity of \* must be in \[0, 1\), got 1.0"),
        ({"sparsity": 0.5, "period": 0}, "period must be at least 1, got 0"),
        ({"sparsity": 0.5, "last_step": -1}, "last_step must be at least 0, .* got -1"),
        ({"sparsity": 0.5, "momentum_decay": 7.0}, r"momentum_decay must be in \[0, 1\), got 7.0"),
        (
            {"sparsity": 0.5, "distribution": "ERK"},
            "distribution must be one of erdos_renyi, erk, uniform, got 'ERK'",
        ),
        (
            {"sparsity": 0.5, "rules": sparse.Rules(drop="balnced")},
            "rules.drop must be one of balanced, .*, nothing, got 'balnced'",
        ),
        (
            {"sparsity": 0.5, "rules": sparse.Rules(grow="before")},
            "rules.grow must be one of empty_before_drop, empty_after_drop, got 'before'",
        ),
        ({"sparsity": 0.5, "drop_fraction": 2}, r"drop_fraction must be in \[0, 1\], got 2"),
        ({"sparsity": 0.5, "rules": sparse.OFFICIAL}, "grown_weight must be 'zero'"),
        (
            {"sparsity": 0.5, "rules": sparse.PAPER._replace(groups=sparse.n_of_m(2, 4))},
            "n_of_m groups fix the connections: leave out sparsity",
        ),
        (
            {"sparsity": 0.5, "rules": sparse.STATIC, "drop_fraction": 0.3},
            "drop_fraction has no effect",
        ),
        ({"sparsity": sparse.Gradual(0.9, 10, 110), "last_step": 3}, "last_step has no effect"),
        ({"sparsity": sparse.Gradual(1.0, 1, 101)}, "initial <= final < 1, got .* final 1.0"),
        ({"sparsity": sparse.Gradual(0.9, 10, 15)}, "must be a multiple of period 100, got 5"),
        ({"sparsity": sparse.Gradual(0.9, 20, 10)}, "1 <= begin < end, got 20, 10"),
        ({"sparsity": sparse.Gradual(0.5, 1, 101, 0.6)}, "initial 0.6, final 0.5"),
        (
            {
                "sparsity": sparse.Gradual(0.9, 1, 101),
                "rules": sparse.PAPER._replace(groups=sparse.constant_fan_in()),
            },
            "groups do not go with a Gradual",
        ),
    ],
)
def test_invalid_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        sparse.sparsify(EXACT, key=jax.random.key(0), **arguments)


def test_invalid_calls():
    optimizer, params = make(), random_tree(jax.random.key(9))
    state = optimizer.init(params)
    with pytest.raises(ValueError, match="sparsify needs params, got none"):
        optimizer.update(params, state)
    with pytest.raises(ValueError, match="one state of sparsify, got 0"):
        sparse.get_masks(EXACT.init(params))
    with pytest.raises(ValueError, match="one state of sparsify, got 2"):
        sparse.get_masks((state, state))
    with pytest.raises(ValueError, match="sparsity must be at most"):
        make(sparsity=0.999, is_sparse=sparse.is_kernel).init(params)
