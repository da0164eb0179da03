"""Constraints on where connections may be: groups of inputs with equally many connections.

A kernel `[..., n_out]` feeds each output, its last axis, from all positions of the other axes: the
output's inputs, in C order. A group is a number of consecutive inputs of one output. Without groups
(None) the whole kernel is one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num, PRNGKeyArray

from dsrl_jax.sparse.arguments import is_traced
from dsrl_jax.sparse.distribution import round_share
from dsrl_jax.sparse.selection import count_true, random_scores, select_smallest


class Groups(NamedTuple):
    """Every group has the same number of connections, at the start and after every adaptation.

    size: inputs of a group; None: all inputs of an output.
    connections: connections of each group; None: round(density * size).
    """

    size: int | None = None
    connections: int | None = None


def n_of_m(n: int, m: int) -> Groups:
    """Returns N:M sparsity: n connections among every m consecutive inputs of an output.

    Source: Mishra et al. 2021 (2:4 on sparse tensor cores); Zhou et al. 2021.
    Raises:
      ValueError: unless 0 < n <= m.
    """
    if not 0 < n <= m:
        raise ValueError(f"n must be in [1, m], got n {n} and m {m}")
    return Groups(m, n)


def constant_fan_in() -> Groups:
    """Returns groups that give all outputs of a layer equally many connections, by its density.

    Source: SRigL, Lasby et al. 2024.
    """
    return Groups()


def split_groups(array: Array, groups: Groups) -> Array:
    """Returns a kernel's values by group, `[n_groups, size]`, output after output.

    Raises:
      ValueError: if an output's inputs are not a multiple of the group's size.
    """
    inputs = array.size // array.shape[-1] if array.size else 0
    size = groups.size or inputs
    if not size or inputs % size:
        raise ValueError(
            f"the {inputs} inputs of an output must be a multiple of the group's size, {size}: "
            f"kernel {array.shape}; leave it dense (is_sparse) or change the size"
        )
    return jnp.moveaxis(array, -1, 0).reshape(-1, size)


def join_groups(values: Array, shape: tuple[int, ...]) -> Array:
    """Returns the kernel `shape` from its values by group; the inverse of `split_groups`."""
    return jnp.moveaxis(values.reshape(shape[-1], *shape[:-1]), 0, -1)


def group_connections(groups: Groups, density: float | Array, size: int) -> int | Array:
    """Returns the connections of one group of `size` inputs.

    Raises:
      ValueError: if a density that is not traced leaves a group without connections.
    """
    if groups.connections is not None:
        return groups.connections
    count = round_share(density, size)
    if not is_traced(count) and count < 1:
        raise ValueError(
            f"density must leave every group of {size} inputs a connection, at least 1 / {size}, "
            f"got {density}"
        )
    return count


def count_in_groups(
    marks: Bool[Array, "..."], groups: Groups | None
) -> Int[Array, ""] | Int[Array, " n_groups"]:
    """Counts the marks in each group; without groups, all of them."""
    if groups is None:
        return count_true(marks)
    return jax.vmap(count_true)(split_groups(marks, groups))


def select_in_groups(
    select: Callable[..., Array],
    scores: Num[Array, "..."],
    candidates: Bool[Array, "..."],
    counts: Int[Array, " n_groups"] | Int[Array, ""] | int,
    groups: Groups | None,
) -> Bool[Array, "..."]:
    """Returns `select(scores, candidates, count)` of each group; without groups, of the kernel.

    Args:
      select: `selection.select_largest` or `selection.select_smallest`.
      counts: for each group, or one number for all.
    """
    if groups is None:
        return select(scores, candidates, counts)
    by_group = split_groups(scores, groups), split_groups(candidates, groups)
    counts = jnp.broadcast_to(counts, by_group[0].shape[0])
    return join_groups(jax.vmap(select)(*by_group, counts), candidates.shape)


def draw_scores(
    key: PRNGKeyArray, shape: tuple[int, ...], groups: Groups | None
) -> Int[Array, "..."]:
    """Draws a score for every position of a kernel; each group draws with its own key."""
    if groups is None:
        return random_scores(key, shape)
    n_groups, size = jax.eval_shape(lambda: split_groups(jnp.zeros(shape, bool), groups)).shape
    draw = jax.vmap(lambda key: random_scores(key, (size,)))
    return join_groups(draw(jax.random.split(key, n_groups)), shape)


def cap_by_group(
    kernel: Array, dropped: Bool[Array, "..."], empty: Bool[Array, "..."], groups: Groups
) -> Bool[Array, "..."]:
    """Keeps, of the dropped connections of each group, as many as the group has empty positions.

    The smallest magnitudes stay dropped.
    """
    room = count_in_groups(empty, groups)
    return select_in_groups(select_smallest, jnp.abs(kernel), dropped, room, groups)
