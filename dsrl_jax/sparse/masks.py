"""Masks over trees of parameters: draw, apply, adapt, prune, count.

A mask tree has the structure of its params and a full boolean array for every leaf, all True for
dense leaves; `leaves.py` says which leaves are sparse. Each network of a stacked leaf has its own
topology, and the density sees the shape of one network.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse import topology
from dsrl_jax.sparse.distribution import round_share
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
    network_keys,
    per_network,
)
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
      density: share of connections in [0, 1], or a function of path and shape that returns it,
        for instance by `erdos_renyi_density`.
      exact: whether to draw exactly round(density * size) connections; otherwise each connection
        is drawn independently.
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

    leaves = find_leaves(params, layout)
    return _like(params, [draw(index, leaf) for index, leaf in enumerate(leaves)])


def apply_masks(params: Params, masks: Masks, layout: Layout = KERNELS) -> Params:
    """Sets every absent weight to exactly 0; connected weights and dense leaves pass unchanged.

    A mask selects and does not multiply, so that NaN at an absent weight becomes 0, too.
    """
    chex.assert_trees_all_equal_shapes(params, masks)
    return map_sparse(lambda leaf, mask: jnp.where(mask, leaf, 0), params, masks, layout=layout)


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
) -> tuple[Params, Masks]:
    """Adapts the topology of every sparse leaf, each by itself (Algorithm 2).

    Args and errors as in `topology.drop_and_grow`; `gradients` and `momentum` are trees like
    params, of which dense leaves have no effect.
    Returns:
      params, exactly 0 off the new masks, and the new masks.
    """

    def change(key: Array, kernel: Array, mask: Array, gradient: Any, momentum: Any) -> Any:
        signals = {"gradient": gradient, "momentum": momentum}
        return topology.drop_and_grow(
            key, kernel, mask, drop_fraction, rules=rules, grow=grow, **signals
        )

    def change_leaf(index: int, leaf: Leaf, *arrays: Any) -> tuple[Array, Array]:
        keys = network_keys(key, index, leaf)
        return per_network(change, leaf.stacked)(keys, leaf.value, *arrays)

    return _change_sparse(change_leaf, params, masks, gradients, momentum, layout=layout)


def prune(
    params: Params,
    masks: Masks,
    density: Callable[[str, tuple[int, ...]], float | Array],
    *,
    layout: Layout = KERNELS,
) -> tuple[Params, Masks]:
    """Keeps the round(density * size) largest connections of every sparse leaf.

    Returns:
      params, exactly 0 off the new masks, and the new masks.
    """

    def prune_leaf(index: int, leaf: Leaf, mask: Array) -> tuple[Array, Array]:
        count = round_share(density(leaf.path, leaf.one.shape), math.prod(leaf.one.shape))
        keep = partial(topology.prune, count=count)
        return per_network(keep, leaf.stacked)(leaf.value, mask)

    return _change_sparse(prune_leaf, params, masks, layout=layout)


def maintain_sparsity(
    target: Params,
    masks: Masks,
    *,
    layout: Layout = KERNELS,
    ties: topology.TargetTies = "exact",
) -> Params:
    """Keeps, in every sparse leaf, at most as many weights as the mask has (Algorithm 3).

    Args:
      target: params of the target network, after its soft update.
      masks: the online network's connections.
    """
    return maintain_sparsity_from(None, target, masks, layout=layout, ties=ties)[0]


def maintain_sparsity_from(
    guesses: tuple[Array, ...] | None,
    target: Params,
    masks: Masks,
    *,
    layout: Layout = KERNELS,
    ties: topology.TargetTies = "exact",
) -> tuple[Params, tuple[Array, ...]]:
    """Returns `maintain_sparsity` and the thresholds, the guesses for the next call.

    Args:
      guesses: for each sparse leaf one number for each of its networks, see
        `topology.keep_largest_from`; None: no guesses.
    """

    def keep(guess: Array | None, leaf: Array, mask: Array) -> tuple[Array, Array]:
        return topology.keep_largest_from(guess, leaf, count_true(mask), ties=ties)

    chex.assert_trees_all_equal_shapes(target, masks)
    values, thresholds = [], []
    rest = iter(guesses or ())
    for leaf, mask in zip(find_leaves(target, layout), jax.tree.leaves(masks), strict=True):
        value = leaf.value
        if leaf.sparse:
            guess = None if guesses is None else next(rest)
            value, threshold = per_network(keep, leaf.stacked)(guess, value, mask)
            thresholds.append(threshold)
        values.append(value)
    return _like(target, values), tuple(thresholds)


def count_connections(masks: Masks, layout: Layout = KERNELS) -> Int[Array, ""]:
    """Counts the connections of all kernels, int32: dense ones too, biases not (eq. 10)."""
    counts = [count_true(leaf.value) for leaf in find_leaves(masks, layout) if leaf.sparse]
    return sum(counts, start=jnp.int32(0))


def _change_sparse(
    change: Callable[..., tuple[Array, Bool[Array, "..."]]],
    params: Params,
    masks: Masks,
    *signals: Params | None,
    layout: Layout,
) -> tuple[Params, Masks]:
    """Maps `change(index, leaf, mask, *signals) -> (value, mask)` over the sparse leaves."""
    leaves = find_leaves(params, layout)
    structure: Any = jax.tree.structure(params)
    given = [
        [None] * len(leaves) if tree is None else structure.flatten_up_to(tree)
        for tree in (masks, *signals)
    ]
    changed = [
        change(index, leaf, *arrays) if leaf.sparse else (leaf.value, arrays[0])
        for index, (leaf, *arrays) in enumerate(zip(leaves, *given, strict=True))
    ]
    return _like(params, (value for value, _ in changed)), _like(params, (m for _, m in changed))


def _like(tree: Any, leaves: Iterable[Array]) -> Any:
    """Returns a tree with the structure of `tree`."""
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)
