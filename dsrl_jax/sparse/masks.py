"""The same over a tree of parameters: which leaves are sparse, draw, apply, adapt, count.

A mask tree has the structure of its params and a full boolean array for every leaf, all True
where the leaf is dense. Which leaves are sparse is static: a predicate on a leaf's path (keys
joined by "/") and shape. The `stacked_axes` leading axes of every leaf count networks of one
shape (twin critics: 1); each of those has a topology of its own, and the predicate and the
density see the shape of one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse import topology
from dsrl_jax.sparse.branch import run_if
from dsrl_jax.sparse.selection import count_true

Params = Any  # a tree of arrays
Masks = Any  # a tree of boolean arrays with the structure of its params
IsSparse = Callable[[str, tuple[int, ...]], bool]
Density = float | Array | Callable[[str, tuple[int, ...]], float | Array]


def is_kernel(path: str, shape: tuple[int, ...]) -> bool:
    """The default predicate: leaves of two or more dimensions; biases and norms stay dense."""
    del path  # The shape alone decides.
    return len(shape) >= 2


def draw_masks(
    key: PRNGKeyArray,
    params: Params,
    density: Density,
    *,
    is_sparse: IsSparse = is_kernel,
    stacked_axes: int = 0,
    exact: bool = False,
) -> Masks:
    """Draws a random topology for every sparse leaf (Algorithm 1, line 2; eq. 1).

    Args:
      density: share of connections in [0, 1], or a function of path and shape that gives it,
        for instance by `erdos_renyi_density`.
      exact: round(density * size) connections exactly, instead of independent draws.
    Raises:
      ValueError: if a density is outside [0, 1].
    """

    def draw(index: int, path: str, leaf: Array) -> Array:
        shape = leaf.shape[stacked_axes:]
        if not is_sparse(path, shape):
            return jnp.ones(leaf.shape, bool)
        share = density(path, shape) if callable(density) else density
        one = partial(topology.random_mask, shape=shape, density=share, exact=exact)
        keys = jax.random.split(jax.random.fold_in(key, index), leaf.shape[:stacked_axes])
        return _per_network(one, stacked_axes)(keys)

    named, structure = _named_leaves(params)
    return structure.unflatten(
        [draw(index, path, leaf) for index, (path, leaf) in enumerate(named)]
    )


def apply_masks(
    params: Params, masks: Masks, *, is_sparse: IsSparse = is_kernel, stacked_axes: int = 0
) -> Params:
    """Sets every absent weight to exactly 0; connected weights and dense leaves pass unchanged."""

    def apply(leaf: Array, mask: Array) -> Array:
        return jnp.where(mask, leaf, 0)

    return _map_sparse(apply, params, masks, is_sparse=is_sparse, stacked_axes=stacked_axes)


def adapt(
    key: PRNGKeyArray,
    params: Params,
    masks: Masks,
    drop_fraction: float | Float[Array, ""],
    *,
    is_sparse: IsSparse = is_kernel,
    stacked_axes: int = 0,
    rules: topology.Rules = topology.PAPER,
    grow: bool | Array = True,
) -> tuple[Params, Masks]:
    """Topological adaptation (Algorithm 2) of every sparse leaf, each on its own.

    Args and errors as in `topology.drop_and_grow`.
    Returns:
      params, exactly 0 off the new masks, and the new masks.
    """
    change = partial(topology.drop_and_grow, drop_fraction=drop_fraction, rules=rules, grow=grow)

    def change_leaf(index: int, path: str, leaf: Array, mask: Array) -> tuple[Array, Array]:
        if not is_sparse(path, leaf.shape[stacked_axes:]):
            return leaf, mask
        keys = jax.random.split(jax.random.fold_in(key, index), leaf.shape[:stacked_axes])
        return _per_network(change, stacked_axes)(keys, leaf, mask)

    named, structure = _named_leaves(params)
    changed = [
        change_leaf(index, path, leaf, mask)
        for index, ((path, leaf), mask) in enumerate(
            zip(named, structure.flatten_up_to(masks), strict=True)
        )
    ]
    return (
        structure.unflatten([leaf for leaf, _ in changed]),
        structure.unflatten([mask for _, mask in changed]),
    )


def maintain_sparsity(
    target: Params,
    masks: Masks,
    *,
    is_sparse: IsSparse = is_kernel,
    stacked_axes: int = 0,
    ties: topology.TargetTies = "exact",
) -> Params:
    """Algorithm 3 on every sparse leaf: at most as many weights as the online layer connects.

    Args:
      target: params of the target network, after its soft update.
      masks: the online network's connections.
    """

    def keep(leaf: Array, mask: Array) -> Array:
        return topology.keep_largest(leaf, count_true(mask), ties=ties)

    return _map_sparse(
        _per_network(keep, stacked_axes),
        target,
        masks,
        is_sparse=is_sparse,
        stacked_axes=stacked_axes,
    )


def average_and_maintain(
    due: bool | Bool[Array, ""],
    average: Callable[[Array, Array], Array],
    params: Params,
    masks: Masks,
    target: Params,
    near: Any,
    *,
    is_sparse: IsSparse = is_kernel,
    stacked_axes: int = 0,
    ties: topology.TargetTies = "exact",
) -> tuple[Params, Any]:
    """A target's average with its online network, and then `maintain_sparsity`, where `due`.

    Leaf by leaf: between the two, a kernel does not leave the cache.

    Args:
      due: must not be batched, see `run_if`.
      average: of an online leaf and a leaf of the target.
      params, masks: the online network's.
      target: params of the target network.
      near: a tree like `target`, one number for each network of a leaf: where the searches
        ended last time, see `topology.keep_largest_from`.
    Returns:
      The target, and where the searches ended.
    """

    def keep(near: Array, leaf: Array, mask: Array) -> tuple[Array, Array]:
        return topology.keep_largest_from(near, leaf, count_true(mask), ties=ties)

    def follow_leaf(path: str, old: Array, near: Array, new: Array, mask: Array) -> Any:
        def follow(leaf: tuple[Array, Array]) -> tuple[Array, Array]:
            old, near = leaf
            averaged = average(new, old)
            if not is_sparse(path, old.shape[stacked_axes:]):
                return averaged, near
            return _per_network(keep, stacked_axes)(near, averaged, mask)

        return run_if(due, follow, (old, near))

    named, structure = _named_leaves(target)
    others = [structure.flatten_up_to(tree) for tree in (near, params, masks)]
    followed = [
        follow_leaf(path, old, *rest) for (path, old), *rest in zip(named, *others, strict=True)
    ]
    return (
        structure.unflatten([leaf for leaf, _ in followed]),
        structure.unflatten([near for _, near in followed]),
    )


def count_connections(
    masks: Masks, *, is_counted: IsSparse = is_kernel, stacked_axes: int = 0
) -> Int[Array, ""]:
    """Connections of all kernels, dense ones included, biases not (eq. 10), int32."""
    named, _ = _named_leaves(masks)
    counted = [leaf for path, leaf in named if is_counted(path, leaf.shape[stacked_axes:])]
    return sum((count_true(leaf) for leaf in counted), start=jnp.int32(0))


def _map_sparse(
    function: Callable[..., Array],
    tree: Any,
    *rest: Any,
    is_sparse: IsSparse,
    stacked_axes: int,
) -> Any:
    """`function` of the sparse leaves of all trees; dense leaves of the first as they are."""
    named, structure = _named_leaves(tree)
    others = [structure.flatten_up_to(other) for other in rest]
    return structure.unflatten(
        [
            function(leaf, *more) if is_sparse(path, leaf.shape[stacked_axes:]) else leaf
            for (path, leaf), *more in zip(named, *others, strict=True)
        ]
    )


def _named_leaves(tree: Any) -> tuple[list[tuple[str, Array]], Any]:
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    name = partial(jax.tree_util.keystr, simple=True, separator="/")
    return [(name(path), leaf) for path, leaf in flat], structure


def _per_network(function: Callable[..., Any], stacked_axes: int) -> Callable[..., Any]:
    """Applies a function to each stacked network in turn: searches end each at its own pass."""
    if not stacked_axes:
        return function
    inner = _per_network(function, stacked_axes - 1)

    def each(*leaves: Array) -> Any:
        results = [inner(*(leaf[i] for leaf in leaves)) for i in range(leaves[0].shape[0])]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *results)

    return each
