"""The state of `sparsify`, and functions that read it."""

from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from dsrl_jax.sparse.leaves import Masks, Params, named_leaves


class SparsifyState(NamedTuple):
    """The state of `sparsify` between two updates; `get_masks` finds its masks."""

    inner: optax.OptState
    masks: Masks  # True = connected
    key: PRNGKeyArray  # constant: growth draws from fold_in(key, step)
    step: Int[Array, ""]  # of the last update
    momentum: Params | None  # dense, for rules that grow by it; empty for dense leaves


def get_masks(state: optax.OptState) -> Masks:
    """Returns the masks in the state of `sparsify`, also inside the state of another optimizer.

    Returns:
      A tree like params with a full boolean array for every leaf, True = connected.
    Raises:
      ValueError: if the state does not contain exactly one state of `sparsify`.
    """
    found = _find_ours(state)
    if len(found) != 1:
        raise ValueError(
            f"the state must contain one state of sparsify, got {len(found)}; "
            "wrap the whole optimizer in one sparsify and choose leaves with is_sparse"
        )
    return found[0].masks


def inner_state(state: optax.OptState) -> optax.OptState:
    """Replaces every state of `sparsify` by the state of the optimizer that it wraps."""
    return jax.tree.map(
        lambda leaf: leaf.inner if _is_ours(leaf) else leaf, state, is_leaf=_is_ours
    )


def dense_arrays(state: optax.OptState) -> list[tuple[str, int, int]]:
    """Returns path, size and bytes of each dense array that a rule needs (its momentum)."""
    named = [pair for ours in _find_ours(state) for pair in named_leaves(ours.momentum)]
    return [(f"momentum/{path}", leaf.size, leaf.nbytes) for path, leaf in named if leaf.size]


def _find_ours(state: optax.OptState) -> list[SparsifyState]:
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=_is_ours) if _is_ours(leaf)]


def _is_ours(node: Any) -> bool:
    return isinstance(node, SparsifyState)
