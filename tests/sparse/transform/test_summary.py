"""Tests the table of layers against one made by hand, and `check` on broken trees."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrl_jax import sparse

MASK = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], bool)


@pytest.fixture
def trees():
    """A 4x3 kernel with 4 connections, an input and an output without any, and a bias."""
    masks = {"layer": {"bias": np.ones(3, bool), "kernel": MASK}}
    params = {"layer": {"bias": np.ones(3, np.float32), "kernel": MASK.astype(np.float32)}}
    return jax.tree.map(jnp.asarray, (params, masks))


def test_the_table_by_hand(trees, capsys):
    sparse.summary(*trees)
    assert capsys.readouterr().out.splitlines() == [
        "path          shape  connections  sparsity  dead inputs  dead outputs  FLOPs",
        "layer/kernel  4x3              4    66.67%            1             1      8",
        "all                            4    66.67%            1             1      8",
    ]


def test_a_convolution_and_a_stack_count_their_own_inputs():
    # Two networks; in the first, input 0 has a connection at one place of the window only.
    conv = np.zeros((2, 3, 2, 2), bool)
    conv[0, 1, 0, 1] = conv[1, 0, 1, 0] = True
    masks = {"conv": jnp.asarray(conv)}
    params = jax.tree.map(jnp.float32, masks)
    (together,) = sparse.layer_rows(params, masks)
    assert (together.dead_inputs, together.dead_outputs, together.connections) == (0, 0, 2)
    (apart,) = sparse.layer_rows(params, masks, sparse.Layout(stacked_axes=1))
    assert (apart.dead_inputs, apart.dead_outputs) == (2, 2)


def test_check_lists_what_follows_no_parameter(trees):
    params, masks = trees
    optimizer = optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(0.1, 0.0, 5)))
    assert sparse.check(params, masks) == ()
    found = sparse.check(params, masks, optimizer.init(params))
    assert found == ("1/0/count", "1/1/count")


def test_check_names_the_leaf_that_breaks_an_invariant(trees):
    params, masks = trees
    broken = {"layer": params["layer"] | {"kernel": params["layer"]["kernel"].at[1, 2].set(0.5)}}
    message = r"layer/kernel: 1 values are not 0 without a connection, the first at \(1, 2\): 0.5"
    with pytest.raises(ValueError, match="^" + message):
        sparse.check(broken, masks)
    with pytest.raises(ValueError, match="optimizer state 0/trace/" + message):
        sparse.check(params, masks, (optax.TraceState(broken),))
    for mask, what in (
        (jnp.ones((3, 4), bool), r"must be bool \(4, 3\), got bool \(3, 4\)"),
        (jnp.ones((4, 3)), r"must be bool \(4, 3\), got float32 \(4, 3\)"),
    ):
        with pytest.raises(ValueError, match="layer/kernel: the mask " + what):
            sparse.check(params, {"layer": masks["layer"] | {"kernel": mask}})
    with pytest.raises(ValueError, match="layer/bias: no mask"):
        sparse.check(params, {"layer": {"kernel": masks["layer"]["kernel"]}})
    with pytest.raises(ValueError, match="other: a mask without a parameter"):
        sparse.check(params, masks | {"other": jnp.ones(1, bool)})


def test_nan_off_the_mask_is_found(trees):
    params, masks = trees
    broken = {"layer": params["layer"] | {"kernel": params["layer"]["kernel"] + jnp.nan}}
    with pytest.raises(ValueError, match="8 values are not 0"):
        sparse.check(broken, masks)


def test_check_accepts_the_optimizers_own_state_of_an_absent_weight(trees):
    params, masks = trees
    optimizer = optax.rprop(0.1)
    state = optimizer.init(params)
    assert sparse.check(params, masks, state, optimizer) == ()
    with pytest.raises(ValueError, match="optimizer state 0/step_sizes/layer/kernel: 8 values"):
        sparse.check(params, masks, state)
    with pytest.raises(ValueError, match="optimizer state 0/step_sizes/layer/kernel: 8 values"):
        sparse.check(params, masks, optax.rprop(0.2).init(params), optimizer)


# --- Which state follows which parameter ---------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        jnp.ones((4, 3)),  # a bare array: everything of its shape follows it
        [jnp.ones((4, 3)), jnp.ones((4, 3))],
        {"mu": {"w": jnp.ones((4, 3))}, "w": jnp.ones((4, 3)), "v": jnp.ones(3)},  # names of states
    ],
    ids=["array", "list", "names"],
)
def test_every_moment_follows_its_own_parameter(params):
    """Each parameter has a different mask, so that a wrong one would show."""
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    masks = structure.unflatten([jnp.asarray(rng.random(leaf.shape) < 0.5) for leaf in leaves])
    state = optax.adam(0.1).init(params)
    state = jax.tree.map(lambda leaf: jnp.ones_like(leaf), state)
    masked = sparse.mask_moments(
        state, params, masks, layout=sparse.Layout(lambda path, leaf: True)
    )
    expected = jax.tree.map(jnp.float32, masks)
    for moments in (masked[0].mu, masked[0].nu):
        jax.tree.map(np.testing.assert_array_equal, moments, expected)
    assert masked[0].count == 1
