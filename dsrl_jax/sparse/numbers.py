"""Settings that are checked, and numbers that are counted, in one way everywhere."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raises ValueError if the value is none of those of a `Literal`."""
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def is_traced(number: Any) -> bool:
    """Whether its value is not known yet."""
    return isinstance(number, jax.core.Tracer)


def round_share(density: float | Array, size: int) -> int | Array:
    """round(density * size): exact if the density is known, in its own precision if traced."""
    if is_traced(density):
        return jnp.round(density * size).astype(jnp.int32)
    return round(float(density) * size)
