"""The search for a threshold: a whole number that marks exactly as many entries as are asked for.

What it marks is counted in passes over all entries, which are all that costs time. Each guess
interpolates between counts that are known; where that goes slowly the next one halves, so that a
search takes at most twice the passes of bisection, and mostly a few.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

# From a key to what it marks, or to how many: the larger the key, the fewer.
Marks = Callable[[Array], Array]


class Bracket(NamedTuple):
    """Where the threshold lies: at `low` or above it, and not above `high`; both are keys.

    Invariant: `low` marks at least as many entries as are asked for, a key above `high` at most
    as many.
    """

    low: Array
    high: Array
    marked: Array  # int32; how many `low` marks
    above: Array  # int32; how many the key after `high` marks
    halve: Array  # bool; the last guess left more than half of the bracket

    @classmethod
    def between(cls, low: Array, high: Array, marked: Array, above: Array | int = 0) -> "Bracket":
        """Before the first guess."""
        return cls(low, high, marked, jnp.asarray(above, jnp.int32), jnp.asarray(False))


def search(counted: Marks, bracket: Bracket, count: Array) -> Bracket:
    """Narrows a bracket until its `low` marks exactly `count`.

    Where no key marks exactly `count` (ties): until `low` is the largest key that marks at least
    `count`, and `above` is what the next one marks.
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


def surround(
    counted: Marks, everything: Bracket, first: Array, count: Array, keys_per_double: int
) -> Bracket:
    """A bracket around the threshold, from a first guess, in steps of one direction.

    The first step goes as far as it should if the entries below the guess were spread evenly
    between it and zero, as weights near zero are; each other one as far as the last one's gain
    suggests, up to four times as far.

    Args:
      everything: beyond it no step goes; its `low` marks all entries, at least `count`.
      first: the guess, within it.
      keys_per_double: how far the key of a number is from that of its double.
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

    def go_on(steps: _Steps) -> _Steps:
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

    steps = lax.while_loop(is_outside, go_on, _Steps(first, found, first, found, stride))
    enough = steps.found >= count
    return Bracket.between(
        low=jnp.where(enough, steps.ahead, steps.behind),
        high=jnp.where(enough, steps.behind, steps.ahead) - 1,
        marked=jnp.where(enough, steps.found, steps.found_behind),
        above=jnp.where(enough, steps.found_behind, steps.found),
    )


class _Steps(NamedTuple):
    behind: Array  # the key before the last one that was tried
    found_behind: Array  # how many it marks
    ahead: Array  # the last one
    found: Array  # how many that marks
    stride: Array  # unsigned; how far the next step goes


def _unsigned(dtype: jnp.dtype) -> jnp.dtype:
    """The unsigned integers of a signed type's width."""
    return jnp.dtype(f"u{jnp.dtype(dtype).name}")


def _offset(bracket: Bracket, count: Array) -> Array:
    """How far above `low` the next guess is: between 1 and the bracket's width, unsigned.

    In the middle of the gap that should mark exactly `count`, if entries were spread evenly.
    """
    width = _width(bracket.low, bracket.high)
    excess = (bracket.marked - count).astype(jnp.float32) + 0.5
    share = excess / jnp.maximum(bracket.marked - bracket.above + 1, 1).astype(jnp.float32)
    # Below 1, or the product could round to more than the type holds.
    even = (jnp.minimum(share, 0.999) * width.astype(share.dtype)).astype(width.dtype)
    return jnp.clip(jnp.where(bracket.halve, width - width // 2, even), 1, width)


def _width(low: Array, high: Array) -> Array:
    """high - low, unsigned: it may be larger than their own type holds."""
    return (high - low).astype(_unsigned(low.dtype))
