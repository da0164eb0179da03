"""How many connections each layer gets: from its density, or as a share of a given total.

`topology.erdos_renyi_density` starts from a λ, as the paper does; `share_connections` from a total.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.sparse.arguments import check_choice, is_traced

Distribution = Literal["erdos_renyi", "erk", "uniform"]


def share_connections(
    shapes: Sequence[tuple[int, ...]], connections: Any, distribution: Distribution = "erdos_renyi"
) -> list[Any]:
    """Returns the density of each kernel, so that all kernels together have `connections`.

    "erdos_renyi": min(1, λ (n_in + n_out) / (n_in n_out)) with one λ for all (eq. 1); n_in and
    n_out are a kernel's last two axes. "erk": the same with the sum and the product of all axes,
    so that only convolutions differ (RigL, Evci et al. 2020). "uniform": one density.

    Args:
      connections: between 0 and the number of all weights; not checked if traced.
    Returns:
      One density in [0, 1] for each shape; traced if `connections` is.
    Raises:
      ValueError: for `connections` outside this range, or an unknown distribution.
    """
    sizes = [math.prod(shape) for shape in shapes]
    traced = is_traced(connections)
    if not traced and not 0 <= connections <= sum(sizes) * (1 + 1e-9):
        raise ValueError(f"connections must be in [0, {sum(sizes)}], got {connections}")
    larger, smaller = (jnp.maximum, jnp.minimum) if traced else (np.maximum, np.minimum)
    weights = _weights(shapes, distribution)

    # A λ gives Σ min(size, λ weight) connections, a concave function of λ. Each set of full layers
    # gives one candidate for λ, and the largest candidate is right. Layers fill in this order:
    order = sorted(range(len(shapes)), key=lambda i: sizes[i] / weights[i])
    lam: Any = 0.0
    for full in range(len(order)):
        filled = sum(sizes[i] for i in order[:full])
        lam = larger(lam, (connections - filled) / sum(weights[i] for i in order[full:]))
    densities = [
        smaller(1.0, lam * weight / size) for weight, size in zip(weights, sizes, strict=True)
    ]
    # Rounding must not leave a full layer without its last connection; traced numbers are float32.
    if traced:
        return [jnp.where(density > 1 - 1e-6, 1.0, density) for density in densities]
    return [1.0 if density > 1 - 1e-12 else float(density) for density in densities]


def round_share(density: float | Array, size: int) -> int | Array:
    """Returns round(density * size).

    A known density gives an exact Python integer, a traced one an int32 in its own precision.
    """
    if is_traced(density):
        return jnp.round(density * size).astype(jnp.int32)
    return round(float(density) * size)


def fewest_connections(
    shapes: Sequence[tuple[int, ...]], distribution: Distribution = "erdos_renyi"
) -> float:
    """Returns the smallest total for which every kernel has at least one connection."""
    weights = _weights(shapes, distribution)
    return sum(
        min(math.prod(shape), weight / min(weights))
        for shape, weight in zip(shapes, weights, strict=True)
    )


def _weights(shapes: Sequence[tuple[int, ...]], distribution: Distribution) -> list[float]:
    check_choice("distribution", distribution, Distribution)
    return [_weight(shape, distribution) for shape in shapes]


def _weight(shape: tuple[int, ...], distribution: Distribution) -> float:
    """Returns what a kernel's connections are proportional to while no kernel is full."""
    if distribution == "uniform":
        return math.prod(shape)
    axes = shape if distribution == "erk" else shape[-2:]
    return sum(axes) / math.prod(axes) * math.prod(shape)
