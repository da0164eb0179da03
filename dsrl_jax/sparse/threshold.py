"""The search for a threshold: an integer key that marks exactly the requested number of entries.

Each pass over all entries counts the marks of one key, and only passes cost time. Each guess
interpolates between known counts; after a slow step the next one halves the bracket, so that a
search takes at most twice the passes of bisection, and mostly a few.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

# From a key to the entries that it marks, or to their number: a larger key marks fewer.
Marks = Callable[[Array], Array]


class Bracket(NamedTuple):
    """Two keys around the threshold: low <= threshold <= high.

    Invariant: `low` marks at least the requested number of entries, any key above `high` at most
    that many.
    """

    low: Array
    high: Array
    marked: Array  # int32; number of entries that `low` marks
    above: Array  # int32; number of entries that the key after `high` marks
    halve: Array  # bool; the last guess left more than half of the bracket

    @classmethod
    def between(cls, low: Array, high: Array, marked: Array, above: Array | int = 0) -> "Bracket":
        """Returns the bracket before the first guess."""
        return cls(low, high, marked, jnp.asarray(above, jnp.int32), jnp.asarray(False))


def search(counted: Marks, bracket: Bracket, count: Array) -> Bracket:
    """Narrows a bracket until its `low` marks exactly `count`.

    If no key marks exactly `count` (ties), until `low` is the largest key that marks at least
    `count`, and `above` is the number that the next key marks.
    """

    def is_undecided(bracket: Bracket) -> Array:
        return (bracket.marked > count) & (bracket.low < bracket.high)

    def narrow(bracket: Bracket) -> Bracket:
        low, high, marked, above, halve = bracket
        width, offset = _width(low, high), _offset(bracket, count)
        guess = low + offset.astype(low.dtype)
        found = counted(guess)
        enough = found >= count
        left = jnp.where(enough, width - offset, offset - 1)
        return Bracket(
            low=jnp.where(enough, guess, low),
            high=jnp.where(enough, high, guess - 1),
            marked=jnp.where(enough, found, marked),
            above=jnp.where(enough, above, found),
            halve=~halve & (left > width // 2),
        )

    return lax.while_loop(is_undecided, narrow, bracket)


def bracket_from(
    counted: Marks, everything: Bracket, first: Array, count: Array, keys_per_double: int
) -> Bracket:
    """Returns a bracket around the threshold, found in steps of one direction from a first guess.

    The first step is exact if the entries below the guess are spread evenly between it and zero, as
    weights near zero are. Each other step is as long as the last one's gain suggests, up to four
    times as long.

    Args:
      everything: no step leaves it; its `low` marks all entries, at least `count`.
      first: the guess, inside `everything`.
      keys_per_double: distance between the key of a number and the key of its double.
    """
    found = counted(first)
    is_upward = found > count
    end = jnp.where(is_upward, everything.high, everything.low)
    far = jnp.iinfo(first.dtype).max // 4  # A step four times as long fits an unsigned key.
    wrong = jnp.abs(found - count).astype(jnp.float32) + 0.5
    below = jnp.maximum(everything.marked - found, 1).astype(jnp.float32)
    stride = 1 + jnp.minimum(wrong / below * keys_per_double, far).astype(_unsigned(first.dtype))

    def is_outside(steps: _Steps) -> Array:
        same_side = (steps.found > count) == is_upward
        return (steps.found != count) & same_side & (steps.ahead != end)

    def advance(steps: _Steps) -> _Steps:
        last, stride = steps.ahead, steps.stride
        room = jnp.where(is_upward, _width(last, end), _width(end, last))
        step = jnp.minimum(stride, room).astype(last.dtype)
        ahead = jnp.where(is_upward, last + step, last - step)
        found = counted(ahead)
        left = jnp.abs(found - count).astype(jnp.float32) + 0.5
        gained = jnp.abs(found - steps.found).astype(jnp.float32)
        factor = jnp.clip(left / jnp.maximum(gained, 0.1), 0.1, 4)
        longer = jnp.minimum(factor * stride.astype(jnp.float32), far)
        return _Steps(last, steps.found, ahead, found, 1 + longer.astype(stride.dtype))

    steps = lax.while_loop(is_outside, advance, _Steps(first, found, first, found, stride))
    enough = steps.found >= count
    return Bracket.between(
        low=jnp.where(enough, steps.ahead, steps.behind),
        high=jnp.where(enough, steps.behind, steps.ahead) - 1,
        marked=jnp.where(enough, steps.found, steps.found_behind),
        above=jnp.where(enough, steps.found_behind, steps.found),
    )


class _Steps(NamedTuple):
    behind: Array  # the key tried before the last one
    found_behind: Array  # number of entries that `behind` marks
    ahead: Array  # the last key tried
    found: Array  # number of entries that `ahead` marks
    stride: Array  # unsigned; length of the next step


def _unsigned(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the unsigned integer type of a signed type's width."""
    return jnp.dtype(f"u{jnp.dtype(dtype).name}")


def _offset(bracket: Bracket, count: Array) -> Array:
    """Returns the distance of the next guess from `low`, in [1, width], unsigned.

    If entries were spread evenly, it would be the middle of the keys that mark exactly `count`.
    """
    width = _width(bracket.low, bracket.high)
    excess = (bracket.marked - count).astype(jnp.float32) + 0.5
    share = excess / jnp.maximum(bracket.marked - bracket.above + 1, 1).astype(jnp.float32)
    # Below 1, or the product could round to more than the largest integer.
    even = (jnp.minimum(share, 0.999) * width.astype(share.dtype)).astype(width.dtype)
    return jnp.clip(jnp.where(bracket.halve, width - width // 2, even), 1, width)


def _width(low: Array, high: Array) -> Array:
    """Returns high - low, unsigned, because it may overflow the signed type."""
    return (high - low).astype(_unsigned(low.dtype))
