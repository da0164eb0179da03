"""The state of `sparsify`, and what is read from it."""

from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from dsrl_jax.sparse.leaves import Masks, Params, named_leaves


class SparsifyState(NamedTuple):
    """What `sparsify` keeps between two updates; `get_masks` reads its masks."""

    inner: optax.OptState
    masks: Masks
    key: PRNGKeyArray  # stays: growth draws from fold_in(key, step)
    step: Int[Array, ""]  # of the last update
    momentum: Params | None  # dense, for rules that grow by it; of dense leaves it has no numbers


def get_masks(state: optax.OptState) -> Masks:
    """The masks in the state of `sparsify`, also inside the state of another transformation.

    Returns:
      A tree like params with a full boolean array for every leaf, True = connected.
    Raises:
      ValueError: if the state holds not exactly one state of `sparsify`.
    """
    found = _find_ours(state)
    if len(found) != 1:
        raise ValueError(
            f"the state must hold one state of sparsify, got {len(found)}; "
            "wrap the whole optimizer in one sparsify and choose leaves with is_sparse"
        )
    return found[0].masks


def inner_state(state: optax.OptState) -> optax.OptState:
    """The state with that of the wrapped optimizer in place of every state of `sparsify`."""
    return jax.tree.map(
        lambda leaf: leaf.inner if _is_ours(leaf) else leaf, state, is_leaf=_is_ours
    )


def dense_arrays(state: optax.OptState) -> list[tuple[str, int, int]]:
    """What rules keep dense to work: path, numbers and bytes of each array of momentum."""
    named = [pair for ours in _find_ours(state) for pair in named_leaves(ours.momentum)]
    return [(f"momentum/{path}", leaf.size, leaf.nbytes) for path, leaf in named if leaf.size]


def _find_ours(state: optax.OptState) -> list[SparsifyState]:
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=_is_ours) if _is_ours(leaf)]


def _is_ours(node: Any) -> bool:
    return isinstance(node, SparsifyState)
