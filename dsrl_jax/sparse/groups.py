"""Constraints on where connections may be: groups of inputs that hold equally many of them.

A kernel `[..., n_out]` feeds each output, its last axis, from all positions of the other axes: the
output's inputs, in C order. A group is some consecutive inputs of one output.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from dsrl_jax.sparse.numbers import is_traced, round_share
from dsrl_jax.sparse.selection import count_true, select_smallest


class Groups(NamedTuple):
    """Every group has the same number of connections, at the start and after every adaptation.

    size: inputs in a group; None: all of an output's.
    connections: of each group; None: by the density, round(density * size).
    """

    size: int | None = None
    connections: int | None = None


def n_of_m(n: int, m: int) -> Groups:
    """N:M sparsity: n connections among every m consecutive inputs of an output.

    Source: Mishra et al. 2021 (2:4 on sparse tensor cores); Zhou et al. 2021.
    Raises:
      ValueError: if not 0 < n <= m.
    """
    if not 0 < n <= m:
        raise ValueError(f"n must be in [1, m], got n {n} and m {m}")
    return Groups(m, n)


def constant_fan_in() -> Groups:
    """Every output has as many connections as any other, by the density of its layer.

    Source: SRigL, Lasby et al. 2024.
    """
    return Groups()


def split_groups(array: Array, groups: Groups) -> Array:
    """A kernel's values by group, `[n_groups, size]`, output after output.

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
    """The kernel of that shape, from what `split_groups` makes of it."""
    return jnp.moveaxis(values.reshape(shape[-1], *shape[:-1]), 0, -1)


def group_connections(groups: Groups, density: float | Array, size: int) -> int | Array:
    """The connections of one group.

    Raises:
      ValueError: if a density, not traced, leaves a group without connections.
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


def cap_by_group(
    kernel: Array, dropped: Bool[Array, "..."], empty: Bool[Array, "..."], groups: Groups
) -> Bool[Array, "..."]:
    """Of those dropped in each group the smallest, as many as the group has empty places."""
    by_group = [split_groups(each, groups) for each in (jnp.abs(kernel), dropped, empty)]
    capped = jax.vmap(lambda size, drop, free: select_smallest(size, drop, count_true(free)))
    return join_groups(capped(*by_group), kernel.shape)


def mark_by_group(
    mark: Callable[..., Array],
    key: PRNGKeyArray,
    candidates: Bool[Array, "..."],
    counts: Int[Array, " n_groups"] | int | Array,
    groups: Groups,
    *signals: Array,
) -> Bool[Array, "..."]:
    """`mark(key, candidates, count, *signals)` in each group with a key and a count of its own."""
    split = [split_groups(each, groups) for each in (candidates, *signals)]
    n_groups = split[0].shape[0]
    keys = jax.random.split(key, n_groups)
    marks = jax.vmap(mark)(keys, split[0], jnp.broadcast_to(counts, n_groups), *split[1:])
    return join_groups(marks, candidates.shape)
