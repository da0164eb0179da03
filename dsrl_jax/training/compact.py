"""A tree as few arrays: what a call of a compiled function costs grows with how many it passes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

# Elements of a member up to which an array is copied sooner than it is passed.
SMALL = 4096


class Compact(NamedTuple):
    """The leaves of a tree, whose arrays have a leading axis of members.

    large: as they are, in the order of the tree; where one member is all there is, without that
      axis: with it XLA copies each moment before it changes it
    small: the others by dtype, side by side, [members, elements]
    """

    large: tuple[Array, ...]
    small: dict[str, Array]


def compact(like: Any, tree: Any) -> Compact:
    """The leaves of a tree that has the structure of `like`, and its shapes but for the members."""
    large: list[Array] = []
    small: dict[str, list[Array]] = {}
    for leaf, form in zip(jax.tree.leaves(tree), jax.tree.leaves(like), strict=True):
        if _is_small(form):
            small.setdefault(str(form.dtype), []).append(leaf.reshape(leaf.shape[0], -1))
        else:
            large.append(leaf[0] if _is_alone(form) else leaf)
    joined = {dtype: jnp.concatenate(leaves, axis=1) for dtype, leaves in small.items()}
    return Compact(tuple(large), joined)


def expand(like: Any, given: Compact) -> Any:
    """The tree that `compact` was given."""
    large, begin = iter(given.large), dict.fromkeys(given.small, 0)
    leaves = []
    for form in jax.tree.leaves(like):
        if not _is_small(form):
            leaves.append(next(large)[None] if _is_alone(form) else next(large))
            continue
        dtype = str(form.dtype)
        end = begin[dtype] + _elements(form)
        part = given.small[dtype][:, begin[dtype] : end]
        leaves.append(part.reshape(part.shape[0], *form.shape[1:]))
        begin[dtype] = end
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _is_alone(form: jax.ShapeDtypeStruct) -> bool:
    """Whether one member is all there is; several devices need the axis to join their parts."""
    return form.shape[0] == 1


def _is_small(form: jax.ShapeDtypeStruct) -> bool:
    return _elements(form) <= SMALL


def _elements(form: jax.ShapeDtypeStruct) -> int:
    """Of one member."""
    return form.size // form.shape[0]
