"""The same over a tree of parameters: draw, apply, adapt, count.

A mask tree has the structure of its params and a full boolean array for every leaf, all True
where the leaf is dense; `leaves.py` says which are sparse. Each network of a stacked leaf has a
topology of its own, and the density sees the shape of one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse import topology
from dsrl_jax.sparse.branch import run_if
from dsrl_jax.sparse.choice import zero_unless
from dsrl_jax.sparse.groups import Groups
from dsrl_jax.sparse.leaves import (
    KERNELS,
    Density,
    Layout,
    Leaf,
    Masks,
    Params,
    find_leaves,
    map_sparse,
)
from dsrl_jax.sparse.numbers import round_share
from dsrl_jax.sparse.per_network import map_networks, network_keys, per_network
from dsrl_jax.sparse.rules import PAPER, Rules
from dsrl_jax.sparse.selection import count_true


def draw_masks(
    key: PRNGKeyArray,
    params: Params,
    density: Density,
    *,
    layout: Layout = KERNELS,
    exact: bool = False,
    groups: Groups | None = None,
) -> Masks:
    """Draws a random topology for every sparse leaf (Algorithm 1, line 2; eq. 1).

    Args:
      density: share of connections in [0, 1], or a function of path and shape that gives it,
        for instance by `erdos_renyi_density`.
      exact: round(density * size) connections exactly, instead of independent draws.
      groups: where connections may be, see `groups.py`.
    Raises:
      ValueError: if a density is outside [0, 1].
    """

    def draw(index: int, leaf: Leaf) -> Array:
        if not leaf.sparse:
            return jnp.ones(leaf.value.shape, bool)
        shape = leaf.one.shape
        share = density(leaf.path, shape) if callable(density) else density
        one = partial(topology.random_mask, shape=shape, density=share, exact=exact, groups=groups)
        return per_network(one, leaf.stacked)(network_keys(key, index, leaf))

    leaves = find_leaves(params, layout=layout)
    structure = _structure(params)
    return structure.unflatten([draw(index, leaf) for index, leaf in enumerate(leaves)])


def apply_masks(
    params: Params,
    masks: Masks,
    layout: Layout = KERNELS,
) -> Params:
    """Sets every absent weight to exactly 0; connected weights and dense leaves pass unchanged."""

    def apply(leaf: Array, mask: Array) -> Array:
        return zero_unless(mask, leaf)

    return map_sparse(apply, params, masks, layout=layout)


def adapt(
    key: PRNGKeyArray,
    params: Params,
    masks: Masks,
    drop_fraction: float | Float[Array, ""],
    *,
    layout: Layout = KERNELS,
    rules: Rules = PAPER,
    grow: bool | Array = True,
    gradients: Params | None = None,
    momentum: Params | None = None,
    leaves_per_loop: int = 1,
) -> tuple[Params, Masks]:
    """Topological adaptation (Algorithm 2) of every sparse leaf, each on its own.

    Args and errors as in `topology.drop_and_grow`; `gradients` and `momentum` are trees like
    params, whose values for dense leaves do not matter. `leaves_per_loop` is as in `Sparsity`.
    Returns:
      params, exactly 0 off the new masks, and the new masks.
    """
    signals = {"gradient": gradients, "momentum": momentum}
    signals = {name: tree for name, tree in signals.items() if tree is not None}

    def change(key: Array, kernel: Array, mask: Array, *more: Array) -> tuple[Array, Array]:
        named = dict(zip(signals, more, strict=True))
        return topology.drop_and_grow(
            key, kernel, mask, drop_fraction, rules=rules, grow=grow, **named
        )

    return map_networks(
        change,
        partial(network_keys, key),
        params,
        masks,
        *signals.values(),
        layout=layout,
        leaves_per_loop=leaves_per_loop,
    )


def prune(
    params: Params,
    masks: Masks,
    density: Callable[[str, tuple[int, ...]], float | Array],
    *,
    layout: Layout = KERNELS,
    leaves_per_loop: int = 1,
) -> tuple[Params, Masks]:
    """Keeps round(density * size) connections of every sparse leaf, the largest ones.

    Args:
      leaves_per_loop: as in `Sparsity`.
    Returns:
      params, exactly 0 off the new masks, and the new masks.
    """

    def counts(index: int, leaf: Leaf) -> Array:
        del index  # Nothing is drawn.
        shape = leaf.one.shape
        count = round_share(density(leaf.path, shape), math.prod(shape))
        return jnp.broadcast_to(count, leaf.value.shape[: leaf.stacked])

    def change(count: Array, kernel: Array, mask: Array) -> tuple[Array, Array]:
        return topology.prune(kernel, mask, count)

    return map_networks(
        change,
        counts,
        params,
        masks,
        layout=layout,
        leaves_per_loop=leaves_per_loop,
    )


def maintain_sparsity(
    target: Params,
    masks: Masks,
    *,
    layout: Layout = KERNELS,
    ties: topology.TargetTies = "exact",
) -> Params:
    """Algorithm 3 on every sparse leaf: at most as many weights as the online layer connects.

    Args:
      target: params of the target network, after its soft update.
      masks: the online network's connections.
    """

    def keep(leaf: Array, mask: Array) -> Array:
        return topology.keep_largest(leaf, count_true(mask), ties=ties)

    leaves = find_leaves(target, layout=layout)
    structure = _structure(target)
    return structure.unflatten(
        [
            per_network(keep, leaf.stacked)(leaf.value, mask) if leaf.sparse else leaf.value
            for leaf, mask in zip(leaves, structure.flatten_up_to(masks), strict=True)
        ]
    )


def average_and_maintain(
    due: bool | Bool[Array, ""],
    average: Callable[[Array, Array], Array],
    params: Params,
    masks: Masks,
    target: Params,
    near: tuple[Array, ...],
    *,
    layout: Layout = KERNELS,
    ties: topology.TargetTies = "exact",
) -> tuple[Params, tuple[Array, ...]]:
    """A target's average with its online network, and then `maintain_sparsity`, where `due`.

    Each sparse leaf in one piece: between the two, it does not leave the cache.

    Args:
      due: must not be batched, see `run_if`.
      average: of an online leaf and a leaf of the target.
      params, masks: the online network's.
      target: params of the target network.
      near: for each sparse leaf one number for each of its networks: where the searches ended
        last time, see `topology.keep_largest_from`.
    Returns:
      The target, and where the searches ended.
    """

    def follow(leaf: Leaf, new: Array, mask: Array, last: tuple[Array, Array]) -> Any:
        def keep(near: Array, averaged: Array, mask: Array) -> tuple[Array, Array]:
            return topology.keep_largest_from(near, averaged, count_true(mask), ties=ties)

        old, near = last
        return per_network(keep, leaf.stacked)(near, average(new, old), mask)

    leaves = find_leaves(target, layout=layout)
    structure = _structure(target)
    online = (structure.flatten_up_to(tree) for tree in (params, masks))
    cases = list(zip(leaves, *online, strict=True))
    sparse = [case for case in cases if case[0].sparse]
    dense = [case for case in cases if not case[0].sparse]
    followed = [
        run_if(due, partial(follow, *case), (case[0].value, start))
        for case, start in zip(sparse, near, strict=True)
    ]
    averaged = run_if(
        due,
        partial(jax.tree.map, average, [new for _, new, _ in dense]),
        [leaf.value for leaf, _, _ in dense],
    )
    kept, others = (value for value, _ in followed), iter(averaged)
    values = [next(kept) if leaf.sparse else next(others) for leaf in leaves]
    return structure.unflatten(values), tuple(end for _, end in followed)


def count_connections(masks: Masks, layout: Layout = KERNELS) -> Int[Array, ""]:
    """Connections of all kernels, dense ones included, biases not (eq. 10), int32."""
    leaves = find_leaves(masks, layout=layout)
    counted = [leaf.value for leaf in leaves if leaf.sparse]
    return sum((count_true(leaf) for leaf in counted), start=jnp.int32(0))


def _structure(tree: Any) -> Any:
    return jax.tree.structure(tree)
