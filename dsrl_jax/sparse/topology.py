"""The topology of one kernel: Erdős–Rényi, drop and grow, maintain sparsity (Sokar et al. 2022).

A mask is boolean, True = connected, in the shape of its kernel. Functions here take one kernel
of any shape; `masks.py` applies them to a whole tree of parameters.
"""

from typing import Literal

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse.arguments import check_fraction, is_traced
from dsrl_jax.sparse.distribution import round_share
from dsrl_jax.sparse.groups import (
    Groups,
    cap_by_group,
    count_in_groups,
    draw_scores,
    group_connections,
    select_in_groups,
)
from dsrl_jax.sparse.rules import PAPER, Rules, mark_dropped, score_growth
from dsrl_jax.sparse.selection import count_true, select_largest, select_strongest

TargetTies = Literal["exact", "strict"]


def erdos_renyi_density(n_in: int, n_out: int, lam: float | Array) -> float | Array:
    """Returns the share of connections in one layer, min(1, λ (n_in + n_out) / (n_in n_out)).

    Source: eq. (1).
    Args:
      n_in, n_out: sizes of the layer.
      lam: λ; not checked if traced.
    Raises:
      ValueError: if a size or λ is not positive.
    """
    for name, size in (("n_in", n_in), ("n_out", n_out)):
        if size <= 0:
            raise ValueError(f"{name} must be positive, got {size}")
    if not is_traced(lam) and not lam > 0:
        raise ValueError(f"lam must be positive, got {lam}")
    smaller = jnp.minimum if isinstance(lam, jax.Array) else min
    return smaller(1.0, lam * (n_in + n_out) / (n_in * n_out))


def random_mask(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    density: float | Array,
    *,
    exact: bool = False,
    groups: Groups | None = None,
) -> Bool[Array, "..."]:
    """Draws a random topology: every position is connected with probability `density` (eq. 1).

    With `exact`, exactly round(density * size) positions, every subset equally likely. With
    `groups`, the same number in each group; if the groups give it, density has no effect.

    Args:
      density: in [0, 1]; not checked if traced.
    Raises:
      ValueError: if `density` is outside [0, 1].
    """
    check_fraction("density", density)
    everywhere = jnp.ones(shape, bool)
    if groups is not None:
        size = groups.size or everywhere.size // max(shape[-1], 1)
        counts = group_connections(groups, density, size)
    elif exact:
        counts = round_share(density, everywhere.size)
    else:
        return jax.random.bernoulli(key, density, shape)
    scores = draw_scores(key, shape, groups)
    return select_in_groups(select_largest, scores, everywhere, counts, groups)


def drop_and_grow(
    key: PRNGKeyArray,
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    *,
    rules: Rules = PAPER,
    grow: bool | Bool[Array, ""] = True,
    gradient: Float[Array, "*shape"] | None = None,
    momentum: Float[Array, "*shape"] | None = None,
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Adapts a topology (Algorithm 2): drops the weakest connections and grows as many.

    The number of connections stays, in each group if rules have groups. By the paper's rules
    growth is uniform among the empty positions. If these are fewer than the connections to drop,
    fewer are dropped.

    Args:
      key: consumed by the growth.
      kernel: weights; with rules.grown_weight "stepped" also at absent positions.
      mask: the connections.
      drop_fraction: η in [0, 1]; not checked if traced.
      rules: which connections leave and grow: the paper's text, the authors' code, or others.
      grow: False drops without growing, as the authors' last change of topology; may be traced.
      gradient, momentum: dense, of all positions; for the rules that need them.
    Returns:
      The kernel, exactly 0 off the new mask, and the new mask.
    Raises:
      ValueError: if shapes differ, `drop_fraction` is outside [0, 1], or a rule needs a gradient
        or a momentum and there is none.
    """
    if kernel.shape != mask.shape:
        raise ValueError(f"mask must have the kernel's shape, {kernel.shape}, got {mask.shape}")
    check_fraction("drop_fraction", drop_fraction)
    chex.assert_equal_shape([each for each in (kernel, gradient, momentum) if each is not None])
    empty, before = ~mask, rules.grow == "empty_before_drop"
    room = count_true(empty) if before else mask.size

    dropped = mark_dropped(rules, kernel, mask, drop_fraction, room, gradient)
    if before and rules.groups is not None:
        dropped = cap_by_group(kernel, dropped, empty, rules.groups)
    kept = mask & ~dropped  # Algorithm 2, line 5

    scores = score_growth(rules, key, kernel.shape, gradient, momentum)
    counts = jnp.where(grow, count_in_groups(dropped, rules.groups), 0)
    candidates = empty if before else ~kept
    # Algorithm 2, line 7
    grown = select_in_groups(select_largest, scores, candidates, counts, rules.groups)
    new_mask = kept | grown
    # Algorithm 2, line 8
    return jnp.where(kept if rules.grown_weight == "zero" else new_mask, kernel, 0), new_mask


def prune(
    kernel: Float[Array, "*shape"], mask: Bool[Array, "*shape"], count: int | Int[Array, ""]
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Keeps the `count` connections of largest magnitude, or all if there are fewer.

    One step of gradual magnitude pruning (Zhu & Gupta 2017): pruned connections do not come back.

    Returns:
      The kernel, exactly 0 off the new mask, and the new mask.
    """
    chex.assert_equal_shape([kernel, mask])
    kept = select_largest(jnp.abs(kernel), mask, count)
    return jnp.where(kept, kernel, 0), kept


def keep_largest(
    kernel: Float[Array, "*shape"], count: int | Int[Array, ""], *, ties: TargetTies = "exact"
) -> Float[Array, "*shape"]:
    """Maintains sparsity (Algorithm 3; eq. 6 and 7): keeps the `count` largest magnitudes.

    A kernel with at most `count` nonzero weights passes unchanged. Of equal magnitudes at the
    border the lowest flat index stays, so that exactly `count` weights are left; with ties="strict"
    (the authors' code) all weights that equal the largest removed one are removed too.
    """
    return keep_largest_from(None, kernel, count, ties=ties)[0]


def keep_largest_from(
    guess: Float[Array, ""] | None,
    kernel: Float[Array, "*shape"],
    count: int | Int[Array, ""],
    *,
    ties: TargetTies = "exact",
) -> tuple[Float[Array, "*shape"], Float[Array, ""]]:
    """Returns `keep_largest` and the threshold, the guess for the next call.

    If the kernel has changed a little, the search ends after a few passes. The result is the same
    for every guess (see `selection.select_strongest`).
    """
    # Algorithm 3, lines 1-2: a search finds the threshold, because a sort is too slow.
    kept, threshold = select_strongest(kernel, count, guess)
    if ties == "strict":
        magnitude = jnp.abs(kernel)
        removed = (kernel != 0) & ~kept
        # Negated, so that NaN stays, as with exact ties.
        kept &= ~(magnitude <= jnp.max(jnp.where(removed, magnitude, 0), initial=0))
    return jnp.where(kept, kernel, 0), threshold  # Algorithm 3, line 3
