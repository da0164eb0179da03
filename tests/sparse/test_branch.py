"""A branch in place: what it computes, and that it stays a branch under vmap."""

import jax
import jax.numpy as jnp
import numpy as np

from dsrl_jax.sparse import run_if
from tests.branches import branch_conditions

TREE = {"a": jnp.arange(3.0), "b": jnp.int32(2)}


def double(tree):
    return jax.tree.map(lambda leaf: 2 * leaf, tree)


def test_applies_the_function_exactly_where_due():
    run = jax.jit(lambda due, tree: run_if(due, double, tree))
    for due, factor in ((True, 2), (False, 1)):
        for result in (run(due, TREE), run_if(due, double, TREE)):
            np.testing.assert_array_equal(result["a"], factor * TREE["a"])
            assert result["b"] == factor * TREE["b"] and result["b"].dtype == jnp.int32


def test_never_at_the_level_of_python_costs_nothing():
    assert run_if(False, lambda tree: 1 / 0, TREE) is TREE


def test_an_unbatched_due_stays_one_under_vmap():
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), TREE)

    def conditions(axis, due):
        run = jax.vmap(lambda due, tree: run_if(due, double, tree), in_axes=(axis, 0))
        return branch_conditions(run, due, members)

    assert conditions(None, jnp.array(True)) == [()]
    # The counterpart: a condition for each member, so that all run while one of them is due.
    assert conditions(0, jnp.ones(4, bool)) == [(4,)]
