"""Exactly which `count` entries of an array are largest or smallest, without sorting it.

A full sort of one 256x256 kernel costs ten times a whole TD3 update on a CPU. Here the
threshold between chosen and not chosen is searched for: each pass counts the entries above a
guess, and the search (`threshold.py`) stops as soon as the count is the one asked for.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from dsrl_jax.sparse.threshold import Bracket, Marks, search, surround

# A partial count of this many booleans fits an int8: summing bytes is several times faster on a
# CPU than widening every boolean to 32 bits first.
_COLUMN_LENGTH = 64


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
    return _select_by_key(_order_keys(_checked(scores, candidates)), candidates, count)


def select_smallest(
    scores: Num[Array, "..."], candidates: Bool[Array, "..."], count: Int[Array, ""] | int
) -> Bool[Array, "..."]:
    """Marks exactly `min(count, candidates.sum())` candidates with the smallest scores.

    As `select_largest`, in the opposite order of scores; equal scores: lowest flat index first.
    """
    return _select_by_key(~_order_keys(_checked(scores, candidates)), candidates, count)


def select_strongest(
    weights: Float[Array, "..."],
    count: Int[Array, ""] | int,
    near: Float[Array, ""] | None = None,
) -> tuple[Bool[Array, "..."], Float[Array, ""]]:
    """Marks exactly `count` weights of the largest magnitude; all that are not 0, if fewer.

    Equal magnitudes: the lowest flat index first. NaN counts as larger than infinity.

    Args:
      weights: floating point, any shape.
      count: a whole number, may be traced; below 0 counts as 0.
      near: a guess at the smallest magnitude that is chosen, of the type of `weights`. A good one
        saves most of the time; none changes what is marked.
    Returns:
      bool, the shape of `weights`; and a magnitude that parts the marked from the others, the
      guess for weights that have changed a little.
    """
    bits = _bits(weights)
    largest = jnp.iinfo(bits.dtype).max
    lowest, highest = jnp.ones((), bits.dtype), jnp.asarray(largest, bits.dtype)

    # Without the sign a float's bits are in the order of magnitudes. A key has no sign, so that
    # `key |` changes nothing; but with it no compiler moves the magnitudes out of the search and
    # writes them to an array of their own, which would cost more than a pass.
    def at_least(key: Array) -> Array:
        return (bits & (key | largest)) >= key

    def above(key: Array) -> Array:
        return (bits & (key | largest)) > key

    available = count_true(at_least(lowest))
    count = jnp.clip(jnp.asarray(count, jnp.int32), 0, available)
    guess = lowest if near is None else jnp.clip(_bits(near), lowest, highest)
    first = jnp.where(available > count, guess, lowest)
    everything = Bracket.between(lowest, highest, available)
    keys_per_double = 1 << jnp.finfo(weights.dtype).nmant
    bracket = surround(_counted(at_least), everything, first, count, keys_per_double)
    found = search(_counted(at_least), bracket, count)
    marks = _split_ties(at_least, above, found, weights.shape, count)
    # Where all are marked, the guess stays for the time when they are not.
    threshold = jnp.where(available > count, found.low, guess)
    return marks, lax.bitcast_convert_type(threshold, weights.dtype)


def count_true(marks: Bool[Array, "..."]) -> Int[Array, ""]:
    """How many entries are True, int32; much faster on a CPU than `marks.sum()`."""
    columns, rest = _columns(marks)
    partial = jnp.sum(columns, axis=0, dtype=jnp.int8)
    return jnp.sum(partial, dtype=jnp.int32) + jnp.sum(rest, dtype=jnp.int32)


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
    bits = _bits(scores)
    largest = jnp.iinfo(bits.dtype).max
    bits = jnp.where(jnp.isnan(scores), largest, bits)
    return bits ^ ((bits >> (jnp.finfo(scores.dtype).bits - 1)) & largest)


def _bits(scores: Array) -> Array:
    """Of a float, as a signed integer of its width."""
    return lax.bitcast_convert_type(scores, jnp.dtype(f"int{jnp.finfo(scores.dtype).bits}"))


def _select_by_key(keys: Array, candidates: Array, count: Array | int) -> Array:
    def at_least(key: Array) -> Array:
        return candidates & (keys >= key)

    def above(key: Array) -> Array:
        return candidates & (keys > key)

    info, available = jnp.iinfo(keys.dtype), count_true(candidates)
    count = jnp.clip(jnp.asarray(count, jnp.int32), 0, available)
    lowest, highest = (jnp.asarray(end, keys.dtype) for end in (info.min, info.max))
    found = search(_counted(at_least), Bracket.between(lowest, highest, available), count)
    return _split_ties(at_least, above, found, keys.shape, count)


def _split_ties(
    at_least: Marks, above: Marks, found: Bracket, shape: tuple[int, ...], count: Array
) -> Array:
    """What the threshold marks; too many tie at it: those at the lowest positions."""
    threshold, size = found.low, math.prod(shape)

    # Positions are made where they are compared: one array of them for all would be written each
    # time, for a branch that is hardly ever taken.
    def with_ties_before(end: Array) -> Array:
        return above(threshold) | (at_least(threshold) & (_positions(shape) < -end))

    every_tie = jnp.int32(-size)

    def split() -> Array:
        ties = Bracket.between(every_tie, jnp.int32(0), found.marked, found.above)
        return search(_counted(with_ties_before), ties, count).low

    return with_ties_before(lax.cond(found.marked > count, split, lambda: every_tie))


def _positions(shape: tuple[int, ...]) -> Array:
    """Flat indices, int32, from those of each axis: a reshaped `arange` compiles to divisions."""
    position = jnp.zeros(shape, jnp.int32)
    for axis, size in enumerate(shape):
        position = position * size + lax.broadcasted_iota(jnp.int32, shape, axis)
    return position


def _counted(marks: Marks) -> Marks:
    return lambda key: count_true(marks(key))


def _columns(array: Array) -> tuple[Array, Array]:
    """All entries as columns, which a CPU reduces many at a time, and the few left over."""
    flat = array.ravel()
    whole = flat.size // _COLUMN_LENGTH * _COLUMN_LENGTH
    return flat[:whole].reshape(_COLUMN_LENGTH, -1), flat[whole:]
