"""Exactly which `count` entries of an array are largest or smallest, without sorting it.

A full sort of one 256x256 kernel costs ten times a whole TD3 update on a CPU. Here the
threshold between chosen and not chosen is searched for: each pass counts the entries above a
guess, and the search stops as soon as the count is the one asked for.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, Num

# A partial count of this many booleans fits an int8: summing bytes is several times faster on a
# CPU than widening every boolean to 32 bits first.
_BYTE_SUM_LENGTH = 64

Bracket = tuple[Array, Array, Array]  # low, high, how many entries `low` marks


def select_largest(
    scores: Num[Array, "..."], candidates: Bool[Array, "..."], count: Int[Array, ""] | int
) -> Bool[Array, "..."]:
    """Marks exactly `min(count, candidates.sum())` candidates with the largest scores.

    Equal scores: the lowest flat index first. -0.0 counts as smaller than 0.0, NaN as larger
    than infinity.

    Args:
      scores: floating point or signed integers, any shape.
      candidates: bool, the shape of `scores`; what is False is never chosen.
      count: a whole number, may be traced; below 0 counts as 0.
    Returns:
      bool, the shape of `scores`.
    Raises:
      ValueError: if the shapes differ. TypeError: if scores are neither float nor signed.
    """
    keys = _order_keys(_checked(scores, candidates))
    return _select(keys, candidates, count)


def select_smallest(
    scores: Num[Array, "..."], candidates: Bool[Array, "..."], count: Int[Array, ""] | int
) -> Bool[Array, "..."]:
    """Marks exactly `min(count, candidates.sum())` candidates with the smallest scores.

    As `select_largest`, in the opposite order of scores; equal scores: lowest flat index first.
    """
    keys = ~_order_keys(_checked(scores, candidates))
    return _select(keys, candidates, count)


def count_true(marks: Bool[Array, "..."]) -> Int[Array, ""]:
    """How many entries are True, int32; much faster on a CPU than `marks.sum()`."""
    marks = marks.ravel()
    whole = marks.size // _BYTE_SUM_LENGTH * _BYTE_SUM_LENGTH
    columns = marks[:whole].reshape(_BYTE_SUM_LENGTH, -1).astype(jnp.int8)
    partial = jnp.sum(columns, axis=0, dtype=jnp.int8)
    rest = jnp.sum(marks[whole:], dtype=jnp.int32)
    return jnp.sum(partial, dtype=jnp.int32) + rest


def _checked(scores: Array, candidates: Array) -> Array:
    if scores.shape != candidates.shape:
        raise ValueError(
            f"candidates must have the shape of scores, {scores.shape}, got {candidates.shape}"
        )
    return scores


def _order_keys(scores: Array) -> Array:
    """Signed integers in the order of the scores: a float's own bits, mirrored below zero."""
    if jnp.issubdtype(scores.dtype, jnp.signedinteger):
        return scores
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(f"scores must be floating point or signed integers, got {scores.dtype}")
    width = jnp.finfo(scores.dtype).bits
    integer = jnp.dtype(f"int{width}")
    bits = lax.bitcast_convert_type(scores, integer)
    bits = jnp.where(jnp.isnan(scores), jnp.iinfo(integer).max, bits)
    return bits ^ ((bits >> (width - 1)) & jnp.iinfo(integer).max)


def _select(keys: Array, candidates: Array, count: Array | int) -> Array:
    """Two searches: for the threshold among keys, then among positions for ties at it."""
    info = jnp.iinfo(keys.dtype)
    available = count_true(candidates)
    count = jnp.clip(jnp.asarray(count, jnp.int32), 0, available)

    def at_least(key: Array) -> Array:
        return candidates & (keys >= key)

    lowest, highest = jnp.asarray(info.min, keys.dtype), jnp.asarray(info.max, keys.dtype)
    threshold, marked = _bisect(at_least, lowest, highest, count, available)

    position = jnp.arange(keys.size, dtype=jnp.int32).reshape(keys.shape)

    def at_least_with_ties_after(start: Array) -> Array:
        return candidates & ((keys > threshold) | ((keys == threshold) & (position < -start)))

    all_ties = jnp.int32(-keys.size)
    start = lax.cond(
        marked > count,
        lambda: _bisect(at_least_with_ties_after, all_ties, jnp.int32(0), count, marked)[0],
        lambda: all_ties,
    )
    return at_least_with_ties_after(start)


def _bisect(
    marks: Callable[[Array], Array], low: Array, high: Array, count: Array, marked: Array
) -> tuple[Array, Array]:
    """The `low` whose `marks(low)` has exactly `count` True, and how many it has.

    `marks` shrinks as its argument grows. Where no argument marks exactly `count` (ties): the
    largest one up to `high` that marks at least `count`. `marked` is how many `marks(low)` has at
    the start. Invariant: `low` marks at least `count`, and whatever is above `high` fewer.
    """

    def undecided(bracket: Bracket) -> Array:
        low, high, marked = bracket
        return (marked > count) & (low < high)

    def halve(bracket: Bracket) -> Bracket:
        low, high, marked = bracket
        # Rounded up, so that it is above `low`; (low + high + 1) // 2 would overflow.
        middle = (low | high) - ((low ^ high) >> 1)
        marked_at_middle = count_true(marks(middle))
        enough = marked_at_middle >= count
        return (
            jnp.where(enough, middle, low),
            jnp.where(enough, high, middle - 1),
            jnp.where(enough, marked_at_middle, marked),
        )

    low, _, marked = lax.while_loop(undecided, halve, (low, high, marked))
    return low, marked
