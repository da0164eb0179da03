"""One kernel and its mask: Erdős–Rényi, drop and grow, maintain sparsity (Sokar et al. 2022).

A mask is boolean, True = connected, in the shape of its kernel. Functions here take one kernel
of any shape; `masks.py` applies them to a whole tree of parameters.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse.selection import (
    count_true,
    select_largest,
    select_smallest,
    select_strongest,
)

DropRule = Literal["balanced", "per_sign"]
GrowRule = Literal["empty_before_drop", "empty_after_drop"]
GrownWeight = Literal["zero", "stepped"]
TargetTies = Literal["exact", "strict"]


class Rules(NamedTuple):
    """Where the paper's text and the authors' code differ; the defaults are the text's.

    drop: how many leave from which side, see `drop_balanced` and `drop_per_sign`.
    grow: where connections may appear: positions empty before the drop, or after it, which
      lets a connection that was just dropped come back.
    grown_weight: "zero", or "stepped": what the kernel that was handed in holds there.
    """

    drop: DropRule = "balanced"
    grow: GrowRule = "empty_before_drop"
    grown_weight: GrownWeight = "zero"


PAPER = Rules()
OFFICIAL = Rules(drop="per_sign", grow="empty_after_drop", grown_weight="stepped")


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
    key: PRNGKeyArray, shape: tuple[int, ...], density: float | Array, *, exact: bool = False
) -> Bool[Array, "..."]:
    """A random topology: every position is connected with probability `density` (eq. 1).

    With `exact`, the same uniform choice of positions, but exactly round(density * size) of them.

    Args:
      density: in [0, 1]; may be traced, and is then not checked.
    Raises:
      ValueError: if `density` is outside [0, 1].
    """
    _check_fraction("density", density)
    if not exact:
        return jax.random.bernoulli(key, density, shape)
    everywhere = jnp.ones(shape, bool)
    return select_random(key, everywhere, jnp.round(density * everywhere.size).astype(jnp.int32))


def drop_and_grow(
    key: PRNGKeyArray,
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    *,
    rules: Rules = PAPER,
    grow: bool | Bool[Array, ""] = True,
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Topological adaptation (Algorithm 2): drops the weakest connections, grows as many.

    The count of connections stays; growth is uniform among the empty positions. Where they are
    fewer than what would be dropped, the drop is capped by them.

    Args:
      key: consumed by the growth.
      kernel: weights; with rules.grown_weight "stepped" also those of absent positions.
      mask: the connections.
      drop_fraction: η in [0, 1]; may be traced, and is then not checked.
      rules: which of the paper's text and the authors' code to follow.
      grow: False drops without growing, the authors' last change of topology; may be traced.
    Returns:
      The kernel, exactly 0 off the new mask, and the new mask.
    Raises:
      ValueError: if shapes differ or `drop_fraction` is outside [0, 1].
    """
    if kernel.shape != mask.shape:
        raise ValueError(f"mask must have the kernel's shape, {kernel.shape}, got {mask.shape}")
    _check_fraction("drop_fraction", drop_fraction)
    drop = {"balanced": drop_balanced, "per_sign": drop_per_sign}[rules.drop]
    before = rules.grow == "empty_before_drop"
    room = count_true(~mask) if before else mask.size

    dropped = drop(kernel, mask, drop_fraction, room)
    kept = mask & ~dropped
    count = jnp.where(grow, count_true(dropped), 0)
    grown = select_random(key, ~mask if before else ~kept, count)
    valued = kept if rules.grown_weight == "zero" else kept | grown
    return jnp.where(valued, kernel, 0), kept | grown


def drop_balanced(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
) -> Bool[Array, "*shape"]:
    """The connections to drop by the paper's text (Algorithm 2, lines 1 to 5; eq. 4).

    c = floor(η connections), at most `room`. Connections that are exactly 0 go first: eq. (4)
    read literally would keep a connection without a gradient for ever. Of the rest, half (rounded
    down) are the smallest positive weights and the others the negative ones nearest zero; a side
    with too few leaves the rest to the other.
    """
    zero, positive, negative = _sides(kernel, mask)
    n_zero, n_positive, n_negative = map(count_true, (zero, positive, negative))
    count = jnp.minimum(_floor_share(drop_fraction, count_true(mask)), room)
    drop_zero = jnp.minimum(count, n_zero)
    rest = count - drop_zero
    drop_negative = jnp.minimum(rest - jnp.minimum(rest // 2, n_positive), n_negative)
    drop_positive = rest - drop_negative
    return _weakest(kernel, (zero, positive, negative), (drop_zero, drop_positive, drop_negative))


def drop_per_sign(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
) -> Bool[Array, "*shape"]:
    """The connections to drop by the authors' code: η of each sign, and whatever is exactly 0.

    floor(η positives) + 1 of the positive weights and negatives - floor((1 - η) negatives) of
    the negative ones, at most `room` in all.
    """
    zero, positive, negative = _sides(kernel, mask)
    n_zero, n_positive, n_negative = map(count_true, (zero, positive, negative))
    drop_zero = jnp.minimum(n_zero, room)
    share_positive = jnp.minimum(_floor_share(drop_fraction, n_positive) + 1, n_positive)
    drop_positive = jnp.minimum(share_positive, room - drop_zero)
    share_negative = n_negative - _floor_share(1 - drop_fraction, n_negative)
    drop_negative = jnp.minimum(share_negative, room - drop_zero - drop_positive)
    return _weakest(kernel, (zero, positive, negative), (drop_zero, drop_positive, drop_negative))


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
        kept &= magnitude > jnp.max(jnp.where(removed, magnitude, 0), initial=0)
    return jnp.where(kept, kernel, 0), threshold


def select_random(
    key: PRNGKeyArray, candidates: Bool[Array, "*shape"], count: int | Int[Array, ""]
) -> Bool[Array, "*shape"]:
    """Marks exactly `min(count, candidates.sum())` candidates, every subset equally likely.

    Up to ties between 31-bit random numbers, which fall to the lower flat index.
    """
    scores = jax.random.bits(key, candidates.shape, jnp.uint32) >> 1
    return select_largest(scores.astype(jnp.int32), candidates, count)


def _sides(kernel: Array, mask: Array) -> tuple[Array, Array, Array]:
    return mask & (kernel == 0), mask & (kernel > 0), mask & (kernel < 0)


def _weakest(kernel: Array, sides: tuple[Array, ...], counts: tuple[Array, ...]) -> Array:
    magnitude = jnp.abs(kernel)
    dropped = jnp.zeros(kernel.shape, bool)
    for side, count in zip(sides, counts, strict=True):
        dropped |= select_smallest(magnitude, side, count)
    return dropped


def _floor_share(fraction: float | Array, count: Array) -> Array:
    """floor(fraction * count) in float32: its rounding makes 0.7 of 10 seven, as it should be."""
    return jnp.floor(jnp.float32(fraction) * count.astype(jnp.float32)).astype(jnp.int32)


def _check_fraction(name: str, fraction: float | Array) -> None:
    if not isinstance(fraction, jax.core.Tracer) and not 0 <= float(fraction) <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {fraction}")
