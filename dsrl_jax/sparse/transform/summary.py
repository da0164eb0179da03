"""Prints a table of sparse layers and checks their invariants."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax.sparse.costs import inference_flops
from dsrl_jax.sparse.leaves import KERNELS, Layout, Leaf, Masks, Params, find_leaves, named_leaves
from dsrl_jax.sparse.moments import Path, followed_path, shapes_by_path
from dsrl_jax.sparse.transform.state import dense_arrays, inner_state


class Row(NamedTuple):
    """One leaf of two or more dimensions. Inputs are its last axis but one, outputs its last.

    A dead input or output has no connection along any other axis; in a stack, the networks' counts
    are summed. flops: 2 per connection, each used once in a forward pass.
    """

    path: str
    shape: tuple[int, ...]
    connections: int
    sparsity: float
    dead_inputs: int
    dead_outputs: int
    flops: float


def layer_rows(params: Params, masks: Masks, layout: Layout = KERNELS) -> list[Row]:
    """Returns a row for each kernel, dense ones included; biases and norms have none.

    Raises:
      ValueError: names the leaf whose mask is not a boolean array of its shape.
    """
    leaves = find_leaves(params, layout=layout)
    pairs = zip(leaves, _masks_of(leaves, masks), strict=True)
    return [_row(leaf, mask) for leaf, mask in pairs if leaf.sparse]


def summary(
    params: Params,
    masks: Masks,
    opt_state: optax.OptState = None,
    layout: Layout = KERNELS,
) -> None:
    """Prints a table of the kernels and their sum.

    With the state of `sparsify`, prints also the dense arrays that a rule needs.
    """
    rows = layer_rows(params, masks, layout=layout)
    connections = sum(row.connections for row in rows)
    weights = sum(math.prod(row.shape) for row in rows)
    total = Row(
        "all",
        (),
        connections,
        1 - connections / max(weights, 1),
        sum(row.dead_inputs for row in rows),
        sum(row.dead_outputs for row in rows),
        sum(row.flops for row in rows),
    )
    head = ("path", "shape", "connections", "sparsity", "dead inputs", "dead outputs", "FLOPs")
    print(_table([head, *(_cells(row) for row in (*rows, total))]))
    for path, numbers, size in dense_arrays(opt_state):
        print(f"kept dense by the rule: {path}, {numbers:,} numbers, {size:,} bytes")


def check(
    params: Params,
    masks: Masks,
    opt_state: optax.OptState = None,
    optimizer: optax.GradientTransformation | None = None,
) -> tuple[str, ...]:
    """Checks that params and the optimizer's state are exactly 0 off the masks.

    Args:
      opt_state: of `sparsify`, of a SparseNet, or of any optimizer around or inside of them.
      optimizer: the optimizer of that state. The state of an absent weight may then also be the
        initial one, or the one after a step without a gradient: with Rprop, Adagrad and others
        neither is 0. It is compiled once per object: pass the same one each time.
    Returns:
      The paths of the state's arrays that follow no parameter and so are never cleared, such as
      step counters.
    Raises:
      ValueError: with the path of the first leaf that breaks an invariant.
    """
    leaves = find_leaves(params)
    arrays = _masks_of(leaves, masks)
    for leaf, mask in zip(leaves, arrays, strict=True):
        _check_absent(leaf.path, leaf.value, mask)
    shapes = shapes_by_path(params)
    by_path = dict(zip(shapes, arrays, strict=True))
    others = []
    idle = [] if optimizer is None else [dict(_flat(s)) for s in _idle_states(params, optimizer)]
    for path, value in _flat(opt_state):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        followed = followed_path(path, value, shapes)
        if followed is None:
            others.append(name)
        else:
            allowed = [np.asarray(state[path]) for state in idle]
            _check_absent(f"optimizer state {name}", value, by_path[followed], allowed)
    return tuple(others)


def _masks_of(leaves: list[Leaf], masks: Masks) -> list[np.ndarray]:
    """Returns the mask of each leaf after a check of its shape and dtype."""
    named = dict(named_leaves(masks))
    for path in named.keys() - {leaf.path for leaf in leaves}:
        raise ValueError(f"{path}: a mask without a parameter")
    for leaf in leaves:
        if leaf.path not in named:
            raise ValueError(f"{leaf.path}: no mask; dense leaves have one too, all True")
        mask = named[leaf.path]
        if mask.shape != leaf.value.shape or mask.dtype != bool:
            raise ValueError(
                f"{leaf.path}: the mask must be bool {leaf.value.shape}, "
                f"got {mask.dtype} {mask.shape}"
            )
    return [np.asarray(named[leaf.path]) for leaf in leaves]


def _flat(opt_state: optax.OptState) -> list[tuple[Path, Any]]:
    return jax.tree_util.tree_flatten_with_path(inner_state(opt_state))[0]


# Without `jit` each call would compile the loops inside an optimizer again.
@partial(jax.jit, static_argnames="optimizer")
def _idle_states(
    params: Params, optimizer: optax.GradientTransformation
) -> tuple[optax.OptState, optax.OptState]:
    """Returns the optimizer's state of weights of 0: from `init`, and after a gradient of 0."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    start = optimizer.init(zeros)
    _, stepped = optimizer.update(zeros, start, zeros)
    return start, stepped


def _check_absent(
    name: str, value: Any, mask: np.ndarray, allowed: Sequence[np.ndarray] = ()
) -> None:
    """Raises ValueError if the value off the mask is neither 0 nor one of the allowed values."""
    wrong = (np.asarray(value) != 0) & ~mask
    for other in allowed:
        wrong &= np.asarray(value) != other
    wrong = np.argwhere(wrong)
    if len(wrong):
        at = tuple(int(index) for index in wrong[0])
        raise ValueError(
            f"{name}: {len(wrong)} values are not 0 without a connection, the first at {at}: "
            f"{np.asarray(value)[at]}"
        )


def _row(leaf: Leaf, mask: np.ndarray) -> Row:
    # [networks, other axes, inputs, outputs]
    networks = math.prod(mask.shape[: leaf.stacked])
    by_network = np.any(mask.reshape(networks, -1, *mask.shape[-2:]), axis=1)
    connections = int(mask.sum())
    return Row(
        leaf.path,
        mask.shape,
        connections,
        1 - connections / max(mask.size, 1),
        int(np.sum(~np.any(by_network, axis=2))),
        int(np.sum(~np.any(by_network, axis=1))),
        inference_flops(connections),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.path,
        "x".join(map(str, row.shape)),
        f"{row.connections:,}",
        f"{row.sparsity:.2%}",
        f"{row.dead_inputs:,}",
        f"{row.dead_outputs:,}",
        f"{row.flops:,.0f}",
    )


def _table(lines: list[tuple[str, ...]]) -> str:
    """Formats lines in columns: path and shape left-aligned, numbers right-aligned."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
