"""How the connections of a whole network are shared among its layers.

`topology.erdos_renyi_density` starts from a λ, as the paper does; here a total is given.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dsrl_jax.sparse.numbers import check_choice

Distribution = Literal["erdos_renyi", "erk", "uniform"]


def share_connections(
    shapes: Sequence[tuple[int, ...]], connections: Any, distribution: Distribution = "erdos_renyi"
) -> list[Any]:
    """The density of each kernel such that they have `connections` in all.

    "erdos_renyi": min(1, λ (n_in + n_out) / (n_in n_out)) with one λ for all (eq. 1); n_in and
    n_out are a kernel's last two axes. "erk": the same with the sum and the product of all axes,
    so that it differs for convolutions alone (RigL, Evci et al. 2020). "uniform": one density.

    Args:
      connections: from 0 to all weights; may be traced, and is then not checked.
    Returns:
      One density in [0, 1] for each shape; they are traced if `connections` is.
    Raises:
      ValueError: if `connections`, not traced, cannot be had, or no distribution is called so.
    """
    sizes = [math.prod(shape) for shape in shapes]
    traced = isinstance(connections, jax.core.Tracer)
    if not traced and not 0 <= connections <= sum(sizes) * (1 + 1e-9):
        raise ValueError(f"connections must be in [0, {sum(sizes)}], got {connections}")
    larger, smaller = (jnp.maximum, jnp.minimum) if traced else (np.maximum, np.minimum)
    weights = _weights(shapes, distribution)

    # The connections for a λ are Σ min(size, λ weight): concave in λ, so the λ for a total is the
    # largest of those that follow from one set of full layers each. Layers fill in this order:
    order = sorted(range(len(shapes)), key=lambda i: sizes[i] / weights[i])
    lam: Any = 0.0
    for full in range(len(order)):
        held = sum(sizes[i] for i in order[:full])
        lam = larger(lam, (connections - held) / sum(weights[i] for i in order[full:]))
    densities = [
        smaller(1.0, lam * weight / size) for weight, size in zip(weights, sizes, strict=True)
    ]
    # A layer that is full but for rounding is full; traced numbers are of single precision.
    if traced:
        return [jnp.where(density > 1 - 1e-6, 1.0, density) for density in densities]
    return [1.0 if density > 1 - 1e-12 else float(density) for density in densities]


def fewest_connections(
    shapes: Sequence[tuple[int, ...]], distribution: Distribution = "erdos_renyi"
) -> float:
    """The smallest total with which every kernel has at least one connection."""
    weights = _weights(shapes, distribution)
    return sum(
        min(math.prod(shape), weight / min(weights))
        for shape, weight in zip(shapes, weights, strict=True)
    )


def _weights(shapes: Sequence[tuple[int, ...]], distribution: Distribution) -> list[float]:
    check_choice("distribution", distribution, Distribution)
    return [_weight(shape, distribution) for shape in shapes]


def _weight(shape: tuple[int, ...], distribution: Distribution) -> float:
    """What a kernel's connections are proportional to, as long as none is full."""
    if distribution == "uniform":
        return math.prod(shape)
    axes = shape if distribution == "erk" else shape[-2:]
    return sum(axes) / math.prod(axes) * math.prod(shape)
