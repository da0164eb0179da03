"""Schedules of the drop fraction and of gradual pruning.

A fraction schedule maps the step, a traced integer, to a share in [0, 1].
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

Fraction = float | Array | Callable[[Any], Any]


def cosine_fraction(first: float, steps: int) -> Callable[[Any], Any]:
    """Returns the schedule first / 2 (1 + cos(π t / steps)), 0 from `steps` on (RigL, eq. 1).

    Source: Evci et al. 2020.

    Raises:
      ValueError: if `first` is outside [0, 1] or `steps` below 1.
    """
    _check(first, steps)
    return lambda step: first / 2 * (1 + jnp.cos(math.pi * _progress(step, steps)))


def linear_fraction(first: float, steps: int) -> Callable[[Any], Any]:
    """Returns the schedule first (1 - t / steps), 0 from `steps` on (RigL's "linear").

    Raises:
      ValueError: if `first` is outside [0, 1] or `steps` below 1.
    """
    _check(first, steps)
    return lambda step: first * (1 - _progress(step, steps))


def fraction_at(fraction: Fraction, step: Array | int) -> float | Array:
    """Returns the share at a step; a number is a constant schedule."""
    return fraction(step) if callable(fraction) else fraction


class Gradual(NamedTuple):
    """Dense-to-sparse: gradual magnitude pruning (Zhu & Gupta 2017) from step `begin` to `end`.

    final: the sparsity at the end; each layer has its own, by the distribution.
    initial: the sparsity at `begin`; before that, nothing is pruned.
    """

    final: float
    begin: int
    end: int
    initial: float = 0.0


def gradual_sparsity(gradual: Gradual, final: float | Array, step: Array | int) -> Array:
    """Returns s_f + (s_i - s_f) (1 - (t - t0) / (n Δt))^3 (Zhu & Gupta 2017, eq. 1).

    Args:
      final: s_f of a layer, from `end` on. If it is below `initial`, the layer begins with s_f.
    """
    progress = _progress(jnp.asarray(step) - gradual.begin, gradual.end - gradual.begin)
    initial = jnp.minimum(gradual.initial, final)
    return final + (initial - final) * (1 - progress) ** 3


def check_gradual(gradual: Gradual, period: int) -> None:
    """Raises ValueError if the pruning has no end, or if the period would miss it."""
    begin, end = gradual.begin, gradual.end
    if not 1 <= begin < end:
        raise ValueError(f"begin and end must be steps with 1 <= begin < end, got {begin}, {end}")
    if (end - begin) % period:
        raise ValueError(f"end - begin must be a multiple of period {period}, got {end - begin}")
    if not 0 <= gradual.initial <= gradual.final < 1:
        raise ValueError(
            "initial and final must be sparsities with 0 <= initial <= final < 1, got "
            f"initial {gradual.initial}, final {gradual.final}"
        )


def _progress(step: Any, steps: int) -> Array:
    return jnp.clip(jnp.asarray(step, jnp.float32) / steps, 0, 1)


def _check(first: float, steps: int) -> None:
    if not isinstance(first, jax.core.Tracer) and not 0 <= first <= 1:
        raise ValueError(f"first must be in [0, 1], got {first}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
