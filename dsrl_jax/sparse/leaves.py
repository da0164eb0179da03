"""The leaves of a tree of parameters: their paths, and which of them are sparse.

Which leaves are sparse is static: a predicate on a leaf's path (keys joined by "/") and on its
shape and dtype. The `stacked_axes` leading axes of a leaf count networks of one shape (twin
critics, or scanned layers: 1); the predicate sees the shape of one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

Params = Any  # a tree of arrays
Masks = Any  # a tree of boolean arrays with the structure of its params
IsSparse = Callable[[str, jax.ShapeDtypeStruct], bool]
Density = float | Array | Callable[[str, tuple[int, ...]], float | Array]
# One number for all leaves, or a function of a leaf's path and its own shape.
StackedAxes = int | Callable[[str, tuple[int, ...]], int]

# What layers call their vectors: stacked in one array, these have two dimensions too.
_VECTORS = {"bias", "b", "scale", "offset", "beta", "gamma"}


def is_kernel(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
    """The default predicate: floating-point leaves of two or more dimensions (and their masks).

    Biases and norms stay dense, stacked ones too: what is called so, or lies in a layer whose name
    has "norm" in it.
    """
    parts = path.lower().removesuffix("/value").split("/")
    if parts[-1] in _VECTORS or any("norm" in part for part in parts):
        return False
    numbers = leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.floating)
    return len(leaf.shape) >= 2 and bool(numbers)


class Layout(NamedTuple):
    """Which leaves of a tree are sparse, and which stack several networks; static.

    Attributes:
      is_sparse: (path, shape and dtype of one network) -> whether the leaf is sparse.
      stacked_axes: leading axes that count networks of one shape, such as twin critics or scanned
        layers; a number for all leaves, or a function of path and shape.
    """

    is_sparse: IsSparse = is_kernel
    stacked_axes: StackedAxes = 0


# Every kernel is sparse, and none is a stack.
KERNELS = Layout()


class Leaf(NamedTuple):
    """One array of a tree. `one` is the shape and dtype of a single network of its stack."""

    path: str
    value: Array
    one: jax.ShapeDtypeStruct
    stacked: int  # leading axes that count networks
    sparse: bool


def find_leaves(tree: Any, layout: Layout = KERNELS) -> list[Leaf]:
    """All leaves in the tree's order, and which are sparse."""

    def find(path: str, value: Array) -> Leaf:
        axes = layout.stacked_axes
        stacked = axes(path, value.shape) if callable(axes) else axes
        one = jax.ShapeDtypeStruct(value.shape[stacked:], value.dtype)
        return Leaf(path, value, one, stacked, layout.is_sparse(path, one))

    return [find(path, value) for path, value in named_leaves(tree)]


def named_leaves(tree: Any) -> list[tuple[str, Array]]:
    """Every leaf with its path, keys joined by "/"."""
    name = partial(jax.tree_util.keystr, simple=True, separator="/")
    return [(name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]


def map_sparse(
    function: Callable[..., Array],
    tree: Any,
    *rest: Any,
    layout: Layout = KERNELS,
) -> Any:
    """`function` of the sparse leaves of all trees; dense leaves of the first as they are."""
    leaves = find_leaves(tree, layout=layout)
    structure: Any = jax.tree.structure(tree)
    others = [structure.flatten_up_to(other) for other in rest]
    return structure.unflatten(
        [
            function(leaf.value, *more) if leaf.sparse else leaf.value
            for leaf, *more in zip(leaves, *others, strict=True)
        ]
    )
