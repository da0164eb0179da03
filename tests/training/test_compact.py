"""A tree as few arrays, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.training.compact import SMALL, compact, expand


@pytest.fixture
def tree(rng):
    """Leaves of 3 members: one too large to be joined, one that is just not, none, scalars."""
    return {
        "large": jnp.asarray(rng.normal(size=(3, SMALL + 1)), jnp.float32),
        "small": jnp.asarray(rng.normal(size=(3, SMALL // 2, 2)), jnp.float32),
        "scalar": jnp.arange(3.0),
        "nothing": jnp.zeros((3, 0)),
        "mask": jnp.asarray(rng.random((3, 4, 5)) < 0.5),
        "counts": (jnp.arange(3), jnp.arange(6).reshape(3, 2)),
    }


def forms(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def test_expanded_it_is_the_same_tree(tree):
    back = expand(forms(tree), compact(forms(tree), tree))
    jax.tree.map(np.testing.assert_array_equal, back, tree)
    assert forms(back) == forms(tree)


def test_one_member_alone_comes_back_with_its_axis(tree):
    alone = jax.tree.map(lambda leaf: leaf[:1], tree)
    found = compact(forms(alone), alone)
    assert [leaf.shape for leaf in found.large] == [(SMALL + 1,)]
    back = expand(forms(alone), found)
    jax.tree.map(np.testing.assert_array_equal, back, alone)
    assert forms(back) == forms(alone)


def test_it_has_one_array_for_each_dtype_and_each_large_leaf(tree):
    found = compact(forms(tree), tree)
    assert [leaf.shape for leaf in found.large] == [(3, SMALL + 1)]
    columns = {dtype: leaf.shape for dtype, leaf in found.small.items()}
    assert columns == {"bool": (3, 20), "float32": (3, SMALL + 1), "int32": (3, 3)}


def test_members_stay_apart(tree):
    """A device that has some of the members needs the forms of all alone."""
    last = jax.tree.map(lambda leaf: leaf[2:], tree)
    found = compact(forms(tree), last)
    expected = jax.tree.map(lambda leaf: leaf[2:], compact(forms(tree), tree))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    jax.tree.map(np.testing.assert_array_equal, expand(forms(tree), found), last)
