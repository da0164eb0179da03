"""Checks arguments; errors name the argument, its value and the allowed values."""

from typing import Any, get_args

import jax
from jaxtyping import Array


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raises ValueError unless the value is one of the names of a `Literal`."""
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_fraction(name: str, fraction: float | Array) -> None:
    """Raises ValueError unless the number is in [0, 1]; a traced one is not checked."""
    if not is_traced(fraction) and not 0 <= float(fraction) <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {fraction}")


def is_traced(number: Any) -> bool:
    """Returns whether the number has no value yet, because JAX is tracing the program."""
    return isinstance(number, jax.core.Tracer)
