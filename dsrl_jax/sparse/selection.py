"""Selects exactly the `count` largest or smallest entries of an array, without sorting it.

A full sort of one 256x256 kernel costs ten times a whole TD3 update on a CPU. A search finds the
threshold between selected entries and the others instead: each pass counts the entries above a
guess, and the search (`threshold.py`) ends as soon as that is the requested count.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray

from dsrl_jax.sparse.threshold import Bracket, Marks, bracket_from, search

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
      candidates: bool, the shape of `scores`; only these are marked.
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
    guess: Float[Array, ""] | None = None,
) -> tuple[Bool[Array, "..."], Float[Array, ""]]:
    """Marks exactly the `count` weights of largest magnitude, or all nonzero ones if fewer.

    Equal magnitudes: the lowest flat index first. NaN counts as larger than infinity.

    Args:
      weights: floating point, any shape.
      count: a whole number, may be traced; below 0 counts as 0.
      guess: at the smallest marked magnitude, in the dtype of `weights`. A good guess saves most
        of the time; no guess changes the marks.
    Returns:
      bool, the shape of `weights`; and the threshold, a magnitude that separates the marked weights
      from the others, which is a good guess for weights that have changed a little.
    """
    bits = _bits(weights)
    largest = jnp.iinfo(bits.dtype).max
    lowest, highest = jnp.ones((), bits.dtype), jnp.asarray(largest, bits.dtype)

    # Without the sign a float's bits are in the order of magnitudes. A key has no sign, so that
    # `key |` changes nothing; but with it no compiler moves the magnitudes out of the search and
    # writes them to an extra array, which would cost more than a pass.
    def at_least(key: Array) -> Array:
        return (bits & (key | largest)) >= key

    def above(key: Array) -> Array:
        return (bits & (key | largest)) > key

    available = count_true(at_least(lowest))
    count = jnp.clip(jnp.asarray(count, jnp.int32), 0, available)
    start = lowest if guess is None else jnp.clip(_bits(guess), lowest, highest)
    first = jnp.where(available > count, start, lowest)
    everything = Bracket.between(lowest, highest, available)
    keys_per_double = 1 << jnp.finfo(weights.dtype).nmant
    bracket = bracket_from(_counted(at_least), everything, first, count, keys_per_double)
    found = search(_counted(at_least), bracket, count)
    marks = _split_ties(at_least, above, found, weights.shape, count)
    # While all are marked there is no threshold, and the guess stays.
    threshold = jnp.where(available > count, found.low, start)
    return marks, lax.bitcast_convert_type(threshold, weights.dtype)


def random_scores(key: PRNGKeyArray, shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Draws uniform 31-bit scores, int32: the largest are a random subset of the positions.

    Every subset is equally likely, up to equal scores, which go to the lowest flat index.
    """
    return (jax.random.bits(key, shape, jnp.uint32) >> 1).astype(jnp.int32)


def count_true(marks: Bool[Array, "..."]) -> Int[Array, ""]:
    """Counts the entries that are True, int32; much faster on a CPU than `marks.sum()`."""
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
    """Returns signed integers in the order of the scores: a float's bits, mirrored below zero."""
    if jnp.issubdtype(scores.dtype, jnp.signedinteger):
        return scores
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise TypeError(f"scores must be floating point or signed integers, got {scores.dtype}")
    bits = _bits(scores)
    largest = jnp.iinfo(bits.dtype).max
    bits = jnp.where(jnp.isnan(scores), largest, bits)
    return bits ^ ((bits >> (jnp.finfo(scores.dtype).bits - 1)) & largest)


def _bits(scores: Array) -> Array:
    """Returns the bits of a float as a signed integer of its width."""
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
    """Marks by the threshold; of the entries that tie at it, those at the lowest positions."""
    threshold, size = found.low, math.prod(shape)

    # Each comparison makes the positions again: one shared array would be written every time, for a
    # branch that is hardly ever taken.
    def with_ties_before(end: Array) -> Array:
        return above(threshold) | (at_least(threshold) & (_positions(shape) < -end))

    every_tie = jnp.int32(-size)

    def split() -> Array:
        ties = Bracket.between(every_tie, jnp.int32(0), found.marked, found.above)
        return search(_counted(with_ties_before), ties, count).low

    return with_ties_before(lax.cond(found.marked > count, split, lambda: every_tie))


def _positions(shape: tuple[int, ...]) -> Array:
    """Returns flat indices, int32, from the index of each axis; `arange` compiles to divisions."""
    position = jnp.zeros(shape, jnp.int32)
    for axis, size in enumerate(shape):
        position = position * size + lax.broadcasted_iota(jnp.int32, shape, axis)
    return position


def _counted(marks: Marks) -> Marks:
    return lambda key: count_true(marks(key))


def _columns(array: Array) -> tuple[Array, Array]:
    """Returns the entries as columns, which a CPU reduces together, and the few that remain."""
    flat = array.ravel()
    whole = flat.size // _COLUMN_LENGTH * _COLUMN_LENGTH
    return flat[:whole].reshape(_COLUMN_LENGTH, -1), flat[whole:]
