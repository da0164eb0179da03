"""A branch that works in place."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

Tree = TypeVar("Tree")


def run_if(due: bool | Bool[Array, ""], function: Callable[[Tree], Tree], tree: Tree) -> Tree:
    """`function(tree)` where due, else the tree as it is.

    A loop of at most one pass: compiled, it changes the tree where it lies, while a branch of
    `lax.cond` that only passes a tree on copies it, which can cost as much as an optimizer's
    step. What is inside also runs together, as long as its data are in the cache. Not
    differentiable in reverse.

    Args:
      due: must not be batched, or the branch becomes a select and every member pays for it. One of
        Python's booleans leaves no branch.
      function: from a tree to one of the same structure, shapes and dtypes.
    """
    if isinstance(due, bool):
        return function(tree) if due else tree

    def is_due(state: tuple[Array, Tree]) -> Array:
        return state[0]

    def run(state: tuple[Array, Tree]) -> tuple[Array, Tree]:
        return jnp.asarray(False), function(state[1])

    return lax.while_loop(is_due, run, (jnp.asarray(due), tree))[1]
