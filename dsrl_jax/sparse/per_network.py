"""Every network of every sparse leaf by itself; leaves of one form may share a loop."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from dsrl_jax.sparse.leaves import Layout, Leaf, Masks, Params, find_leaves


def map_networks(
    change: Callable[..., tuple[Array, Array]],
    argument_of: Callable[[int, Leaf], Array],
    params: Params,
    masks: Masks,
    *rest: Any,
    layout: Layout,
    leaves_per_loop: int,
) -> tuple[Params, Masks]:
    """Params and masks after `change` of each network of every sparse leaf.

    Leaves of one form can be copied into a stack, of which a loop changes each in turn: a program
    that has the buffers of every leaf's change is dearer to call even where nothing is due. What
    fed each leaf alone is then compiled to feed the stack, and its last bit can differ.

    Args:
      change: (argument, kernel, mask, leaves of the rest) -> (kernel, mask), of one network; traced
        where networks are stacked or leaves are alike.
      argument_of: (place of a leaf, leaf) -> an array with the first argument of each network.
      leaves_per_loop: of one form, at most; more need more memory.
    """
    leaves = find_leaves(params, layout=layout)
    structure: Any = jax.tree.structure(params)
    others = [structure.flatten_up_to(tree) for tree in (masks, *rest)]
    given = list(zip([leaf.value for leaf in leaves], *others, strict=True))
    changed = [arrays[:2] for arrays in given]
    for alike in _alike(leaves, given, leaves_per_loop):
        stacked = leaves[alike[0]].stacked
        arrays = [(argument_of(place, leaves[place]), *given[place]) for place in alike]
        if len(alike) == 1:
            changed[alike[0]] = per_network(change, stacked)(*arrays[0])
            continue
        stacks = [jnp.stack(column) for column in zip(*arrays, strict=True)]
        both = per_network(change, stacked + 1)(*stacks)
        for place, *pair in zip(alike, *both, strict=True):
            changed[place] = tuple(pair)
    first, second = (structure.unflatten([pair[side] for pair in changed]) for side in (0, 1))
    return first, second


def network_keys(key: PRNGKeyArray, index: int, leaf: Leaf) -> Array:
    """A key for each network of a leaf's stack; the leaf's place in the tree decides."""
    return jax.random.split(jax.random.fold_in(key, index), leaf.value.shape[: leaf.stacked])


def per_network(function: Callable[..., Any], stacked_axes: int) -> Callable[..., Any]:
    """Applies a function to each stacked network in turn: searches end each at its own pass."""
    if not stacked_axes:
        return function
    inner = per_network(function, stacked_axes - 1)
    return lambda *leaves: lax.map(lambda each: inner(*each), leaves)


def _alike(leaves: list[Leaf], given: list[tuple[Array, ...]], at_most: int) -> list[list[int]]:
    """The places of the sparse leaves, those of one form together."""
    found: dict[Any, list[int]] = {}
    for place, (leaf, arrays) in enumerate(zip(leaves, given, strict=True)):
        if leaf.sparse:
            form = (leaf.stacked, *((array.shape, array.dtype) for array in arrays))
            found.setdefault(form, []).append(place)
    return [
        places[begin : begin + at_most]
        for places in found.values()
        for begin in range(0, len(places), at_most)
    ]
