"""The leaves of a tree of parameters: their paths, and which of them are sparse.

Which leaves are sparse is static: a predicate on a leaf's path (keys joined by "/") and on its
shape and dtype. The `stacked_axes` leading axes of a leaf count networks of one shape (twin
critics, or scanned layers: 1); the predicate sees the shape of one network.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

Params = Any  # a tree of arrays
Masks = Any  # a tree of boolean arrays with the structure of its params
IsSparse = Callable[[str, jax.ShapeDtypeStruct], bool]
Density = float | Array | Callable[[str, tuple[int, ...]], float | Array]
# One number for all leaves, or a function of a leaf's path and shape.
StackedAxes = int | Callable[[str, tuple[int, ...]], int]

# Names of layers' vectors: stacked in one array, these have two dimensions too.
_VECTORS = {"bias", "b", "scale", "offset", "beta", "gamma"}


def is_kernel(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
    """Returns whether a leaf is sparse by default: a float (or a mask) of two or more dimensions.

    Biases and norms stay dense, also stacked: leaves with such a name, and all leaves of a layer
    with "norm" in its name.
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
    """Returns all leaves in the tree's order."""

    def find(path: str, value: Array) -> Leaf:
        axes = layout.stacked_axes
        stacked = axes(path, value.shape) if callable(axes) else axes
        one = jax.ShapeDtypeStruct(value.shape[stacked:], value.dtype)
        return Leaf(path, value, one, stacked, layout.is_sparse(path, one))

    return [find(path, value) for path, value in named_leaves(tree)]


def named_leaves(tree: Any) -> list[tuple[str, Array]]:
    """Returns every leaf with its path, keys joined by "/"."""
    name = partial(jax.tree_util.keystr, simple=True, separator="/")
    return [(name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]


def map_sparse(
    function: Callable[..., Array],
    tree: Any,
    *rest: Any,
    layout: Layout = KERNELS,
) -> Any:
    """Maps a function over the sparse leaves of all trees; keeps the dense leaves of the first."""
    leaves = find_leaves(tree, layout)
    structure: Any = jax.tree.structure(tree)
    others = [structure.flatten_up_to(other) for other in rest]
    return structure.unflatten(
        [
            function(leaf.value, *more) if leaf.sparse else leaf.value
            for leaf, *more in zip(leaves, *others, strict=True)
        ]
    )


def per_network(function: Callable[..., Any], stacked_axes: int) -> Callable[..., Any]:
    """Returns the function mapped over the leading axes, one network after the other.

    Not `vmap`, so that each network's searches end at their own pass.
    """
    if not stacked_axes:
        return function
    inner = per_network(function, stacked_axes - 1)
    return lambda *arrays: lax.map(lambda each: inner(*each), arrays)


def network_keys(key: PRNGKeyArray, index: int, leaf: Leaf) -> Array:
    """Returns a key for each network of the tree's `index`-th leaf."""
    return jax.random.split(jax.random.fold_in(key, index), leaf.value.shape[: leaf.stacked])
