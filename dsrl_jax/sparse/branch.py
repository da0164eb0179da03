"""A branch that works in place, and what waits for one."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

Tree = TypeVar("Tree")
Numbers = TypeVar("Numbers")


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


def run_if_holding(
    due: Bool[Array, ""], function: Callable[[Tree], Tree], tree: Tree, numbers: Numbers
) -> tuple[Tree, Numbers]:
    """`run_if`, and the same numbers, but not before its outcome is there.

    On a CPU XLA gives loops to a second thread once more than nine are ready. A branch holds back
    those that need its outcome: of Adam's two moments eight with four kernels. Two numbers that
    come with them make ten, and then the threads share the loops from the first. With five
    kernels it changes nothing, with three it does not help.
    """

    def run(held: tuple[Tree, Array]) -> tuple[Tree, Array]:
        return function(held[0]), held[1] | jnp.uint8(1)

    tree, passed = run_if(due, run, (tree, jnp.uint8(0)))
    # Eight bits, shifted out: XLA does not see that this is 0, and waits for it.
    zero = passed.astype(jnp.int32) >> 8
    return tree, jax.tree.map(lambda number: number + zero.astype(number.dtype), numbers)
