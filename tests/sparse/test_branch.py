"""A branch in place: what it computes, that it stays a branch under vmap; what waits for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.sparse import run_if
from dsrl_jax.sparse.branch import run_if_holding
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


NUMBERS = (jnp.int32(7), jnp.asarray(True), jnp.asarray(False))


def hold(due, tree, numbers):
    return run_if_holding(due, double, tree, numbers)


@pytest.mark.parametrize("due", [True, False])
def test_numbers_that_wait_for_a_branch_are_the_same(due):
    for run in (hold, jax.jit(hold)):
        tree, numbers = run(jnp.asarray(due), TREE, NUMBERS)
        np.testing.assert_array_equal(tree["a"], (1 + due) * TREE["a"])
        assert jax.tree.map(lambda leaf: leaf.dtype, numbers) == (jnp.int32, bool, bool)
        assert [leaf.item() for leaf in numbers] == [7, True, False]


def test_the_compiler_does_not_see_through_the_waiting():
    run = jax.jit(lambda due, tree, number: hold(due, tree, number)[1] - number)
    text = run.lower(jnp.asarray(True), TREE, NUMBERS[0]).compile().as_text()
    assert "while(" in text  # or the difference would be a constant


def test_numbers_that_members_share_stay_so_under_vmap():
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), TREE)
    run = jax.vmap(hold, in_axes=(None, 0, None), out_axes=(0, None))
    assert run(jnp.asarray(True), members, NUMBERS)[1] == NUMBERS
