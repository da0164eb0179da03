"""The arrays in an optimizer's state that follow a parameter, for any optimizer.

Optax keeps moments in trees like params, inside states of states. A leaf of the state follows the
parameter whose path its own path ends with, if both have one shape: in the state of a chain of
Adam, `[0].mu['hidden']['kernel']` follows `['hidden']['kernel']`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from dsrl_jax.sparse.choice import choose
from dsrl_jax.sparse.leaves import KERNELS, Layout, Masks, Params, find_leaves

Path = tuple[Any, ...]  # JAX's keys, as tree_flatten_with_path gives them


def mask_moments(
    opt_state: optax.OptState,
    params: Params,
    masks: Masks,
    *,
    fresh: optax.OptState | None = None,
    layout: Layout = KERNELS,
) -> optax.OptState:
    """The state as at the start wherever a leaf follows a sparse parameter without a connection.

    Leaves that follow a dense parameter, or none, pass unchanged.

    Args:
      fresh: what the optimizer's `init` gives for params that are 0 there: step sizes of Rprop,
        for instance, that would never leave 0. None: a state of zeros.
    """
    leaves = find_leaves(params, layout=layout)
    by_path = {
        path: mask if leaf.sparse else None
        for (path, mask), leaf in zip(_by_path(masks), leaves, strict=True)
    }
    shapes = shapes_by_path(params)

    def mask_leaf(path: Path, value: Array, *start: Array) -> Array:
        followed = followed_path(path, value, shapes)
        mask = None if followed is None else by_path[followed]
        if mask is None:
            return value
        empty = start[0].astype(value.dtype) if start else jnp.zeros_like(value)
        return choose(mask, value, empty)

    starts = () if fresh is None else (fresh,)
    return jax.tree_util.tree_map_with_path(mask_leaf, opt_state, *starts)


def shapes_by_path(params: Params) -> dict[Path, tuple[int, ...]]:
    """The shape of every parameter."""
    return {path: jnp.shape(leaf) for path, leaf in _by_path(params)}


def followed_path(path: Path, value: Any, shapes: dict[Path, tuple[int, ...]]) -> Path | None:
    """The path of the parameter that a leaf of the state follows, or None.

    Where the paths of several would do, the longest counts.
    """
    suffixes = (path[start:] for start in range(len(path) + 1))
    return next((end for end in suffixes if shapes.get(end) == jnp.shape(value)), None)


def _by_path(tree: Any) -> list[tuple[Path, Array]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]
