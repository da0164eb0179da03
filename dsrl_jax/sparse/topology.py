"""One kernel and its mask: Erdős–Rényi, drop and grow, maintain sparsity (Sokar et al. 2022).

A mask is boolean, True = connected, in the shape of its kernel. Functions here take one kernel
of any shape; `masks.py` applies them to a whole tree of parameters.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse.choice import zero_unless
from dsrl_jax.sparse.groups import (
    Groups,
    cap_by_group,
    group_connections,
    mark_by_group,
    split_groups,
)
from dsrl_jax.sparse.numbers import round_share
from dsrl_jax.sparse.rules import (
    DROP_RULES,
    PAPER,
    Rules,
    grow_random,
    grow_strongest,
    select_random,
)
from dsrl_jax.sparse.selection import count_true, select_largest, select_strongest

TargetTies = Literal["exact", "strict"]


def erdos_renyi_density(n_in: int, n_out: int, lam: float | Array) -> float | Array:
    """Share of connections in one layer, min(1, λ (n_in + n_out) / (n_in n_out)): eq. (1).

    Args:
      n_in, n_out: sizes of the layer.
      lam: λ; may be traced, and is then not checked.
    Raises:
      ValueError: if a size or λ is not positive.
    """
    for name, size in (("n_in", n_in), ("n_out", n_out)):
        if size <= 0:
            raise ValueError(f"{name} must be positive, got {size}")
    if not isinstance(lam, jax.core.Tracer) and not lam > 0:
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
    """A random topology: every position is connected with probability `density` (eq. 1).

    With `exact`, the same uniform choice of positions, but exactly round(density * size) of them.
    With `groups`, exactly as many in each group; where these say how many, density has no effect.

    Args:
      density: in [0, 1]; may be traced, and is then not checked.
    Raises:
      ValueError: if `density` is outside [0, 1].
    """
    _check_fraction("density", density)
    everywhere = jnp.ones(shape, bool)
    if groups is not None:
        size = split_groups(everywhere, groups).shape[1]
        counts = group_connections(groups, density, size)
        return mark_by_group(select_random, key, everywhere, counts, groups)
    if not exact:
        return jax.random.bernoulli(key, density, shape)
    return select_random(key, everywhere, round_share(density, everywhere.size))


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
    """Topological adaptation (Algorithm 2): drops the weakest connections, grows as many.

    The count of connections stays, in each group where rules have groups. By the paper's rules
    growth is uniform among the empty positions. Where they are fewer than what would be dropped,
    the drop is capped by them.

    Args:
      key: consumed by the growth.
      kernel: weights; with rules.grown_weight "stepped" also those of absent positions.
      mask: the connections.
      drop_fraction: η in [0, 1]; may be traced, and is then not checked.
      rules: which connections leave and come; the paper's text, the authors' code, or others.
      grow: False drops without growing, the authors' last change of topology; may be traced.
      gradient, momentum: dense, of all positions; for the rules that look at them.
    Returns:
      The kernel, exactly 0 off the new mask, and the new mask.
    Raises:
      ValueError: if shapes differ, `drop_fraction` is outside [0, 1], or a rule lacks what it
        looks at.
    """
    if kernel.shape != mask.shape:
        raise ValueError(f"mask must have the kernel's shape, {kernel.shape}, got {mask.shape}")
    _check_fraction("drop_fraction", drop_fraction)
    before = rules.grow == "empty_before_drop"
    room = count_true(~mask) if before else mask.size

    drop = rules.drop if callable(rules.drop) else DROP_RULES[rules.drop]
    dropped = drop(kernel, mask, drop_fraction, room, gradient)
    if before and rules.groups is not None:
        dropped = cap_by_group(kernel, dropped, ~mask, rules.groups)
    kept = mask & ~dropped
    signal = {"random": None, "gradient": gradient, "momentum": momentum}[rules.grow_by]
    grown = _grow(key, ~mask if before else ~kept, dropped, grow, rules, signal)
    valued = kept if rules.grown_weight == "zero" else kept | grown
    return jnp.where(valued, kernel, 0), kept | grown


def prune(
    kernel: Float[Array, "*shape"], mask: Bool[Array, "*shape"], count: int | Int[Array, ""]
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Keeps the `count` connections of largest magnitude, or all if there are fewer.

    A step of gradual magnitude pruning (Zhu & Gupta 2017): what has gone does not come back.

    Returns:
      The kernel, exactly 0 off the new mask, and the new mask.
    """
    kept = select_largest(jnp.abs(kernel), mask, count)
    return jnp.where(kept, kernel, 0), kept


def keep_largest(
    kernel: Float[Array, "*shape"], count: int | Int[Array, ""], *, ties: TargetTies = "exact"
) -> Float[Array, "*shape"]:
    """Maintain sparsity (Algorithm 3; eq. 6 and 7): keeps the `count` largest magnitudes.

    A kernel with at most `count` nonzero weights passes unchanged. Equal magnitudes at the
    border: the lowest flat index stays, so that exactly `count` are left; with ties="strict"
    (the authors' code) all that equal the largest one to go, go with it.
    """
    return keep_largest_from(None, kernel, count, ties=ties)[0]


def keep_largest_from(
    near: Float[Array, ""] | None,
    kernel: Float[Array, "*shape"],
    count: int | Int[Array, ""],
    *,
    ties: TargetTies = "exact",
) -> tuple[Float[Array, "*shape"], Float[Array, ""]]:
    """`keep_largest`, and where to begin next time; `near` is what the last time gave.

    In a kernel that has changed a little the search then ends after a few passes; the result is
    the same from any beginning (see `selection.select_strongest`).
    """
    kept, threshold = select_strongest(kernel, count, near)
    if ties == "strict":
        magnitude = jnp.abs(kernel)
        removed = (kernel != 0) & ~kept
        # Negated, so that NaN stays, as it does where ties are split.
        kept &= ~(magnitude <= jnp.max(jnp.where(removed, magnitude, 0), initial=0))
    # By bits, which the search reads: by floats, they and their bits would be two arrays in memory.
    return zero_unless(kept, kernel), threshold


def _grow(
    key: PRNGKeyArray,
    candidates: Array,
    dropped: Array,
    grow: bool | Array,
    rules: Rules,
    signal: Array | None,
) -> Array:
    """As many of the candidates as were dropped, in each group if there are groups."""
    if rules.grow_by != "random" and signal is None:
        raise ValueError(f"rules.grow_by {rules.grow_by!r} needs the kernel's, got none")
    rule = grow_random if rules.grow_by == "random" else grow_strongest
    signals = () if signal is None else (signal,)
    if rules.groups is None:
        return rule(key, candidates, jnp.where(grow, count_true(dropped), 0), *signals)
    counts = jax.vmap(count_true)(split_groups(dropped, rules.groups))
    return mark_by_group(rule, key, candidates, jnp.where(grow, counts, 0), rules.groups, *signals)


def _check_fraction(name: str, fraction: float | Array) -> None:
    if not isinstance(fraction, jax.core.Tracer) and not 0 <= float(fraction) <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {fraction}")
