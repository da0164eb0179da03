"""Finds the density of each leaf from a sparsity of the whole tree or of path patterns."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from jaxtyping import Array

from dsrl_jax.sparse.arguments import is_traced
from dsrl_jax.sparse.distribution import (
    Distribution,
    fewest_connections,
    round_share,
    share_connections,
)
from dsrl_jax.sparse.leaves import KERNELS, Density, Layout, Leaf, Params, find_leaves
from dsrl_jax.sparse.topology import erdos_renyi_density

# Of all sparse leaves together, or by path pattern (shell style).
Sparsities = float | Array | Mapping[str, float | Array]


def find_densities(
    params: Params,
    sparsity: Sparsities,
    distribution: Distribution = "erk",
    layout: Layout = KERNELS,
) -> dict[str, Any]:
    """Returns the density of every sparse leaf, by path.

    Args:
      sparsity: the share of absent weights of all sparse leaves together, which share it by
        `distribution` (see `share_connections`); or a dictionary from a path pattern, such as
        "*/attention/*", to the sparsity of each leaf that matches. The first match counts.
    Raises:
      ValueError: if no leaf is sparse, a sparsity is outside [0, 1) or leaves a layer without
        connections, a pattern matches no leaf, or a leaf matches no pattern.
    """
    leaves = find_leaves(params, layout=layout)
    sparse = [leaf for leaf in leaves if leaf.sparse]
    if not sparse:
        paths = ", ".join(leaf.path for leaf in leaves) or "none"
        raise ValueError(f"no leaf is sparse: is_sparse is False for all of {paths}")
    check_sparsities(sparsity)
    if isinstance(sparsity, Mapping):
        return _by_pattern(sparse, sparsity)
    shapes = [leaf.one.shape for leaf in sparse for _ in range(_networks(leaf))]
    weights = sum(math.prod(shape) for shape in shapes)
    if not is_traced(sparsity):
        _check_fewest(sparsity, shapes, weights, distribution)
    shares = iter(share_connections(shapes, (1 - sparsity) * weights, distribution))
    return {leaf.path: [next(shares) for _ in range(_networks(leaf))][0] for leaf in sparse}


def check_sparsities(sparsity: Sparsities) -> None:
    """Raises ValueError for a sparsity outside [0, 1); traced ones are not checked."""
    given: Mapping[str, Any] = (
        {f"sparsity of {pattern}": share for pattern, share in sparsity.items()}
        if isinstance(sparsity, Mapping)
        else {"sparsity": sparsity}
    )
    for name, share in given.items():
        if not is_traced(share) and not 0 <= share < 1:
            raise ValueError(f"{name} must be in [0, 1), got {share}")


def erdos_renyi(lam: float | Array) -> Density:
    """Returns a density for `sparsify`: eq. (1) with one λ on the last two axes of a leaf.

    The density raises ValueError for a leaf of fewer than two axes.
    """

    def density(path: str, shape: tuple[int, ...]) -> float | Array:
        if len(shape) < 2:
            raise ValueError(f"{path} must have two axes or more for erdos_renyi, got {shape}")
        return erdos_renyi_density(shape[-2], shape[-1], lam)

    return density


def _by_pattern(sparse: Sequence[Leaf], sparsities: Mapping[str, float | Array]) -> dict[str, Any]:
    densities, used = {}, set()
    for leaf in sparse:
        pattern = next((each for each in sparsities if fnmatchcase(leaf.path, each)), None)
        if pattern is None:
            raise ValueError(
                f'{leaf.path} matches no pattern of {", ".join(sparsities)}; add one, or "*"'
            )
        used.add(pattern)
        densities[leaf.path] = 1 - sparsities[pattern]
        _check_not_empty(pattern, sparsities[pattern], leaf)
    for pattern in sparsities:
        if pattern not in used:
            paths = ", ".join(leaf.path for leaf in sparse)
            raise ValueError(f"pattern {pattern} is the first match of no sparse leaf of {paths}")
    return densities


def _check_fewest(
    sparsity: Any, shapes: Sequence[tuple[int, ...]], weights: int, distribution: Distribution
) -> None:
    largest = 1 - fewest_connections(shapes, distribution) / weights
    if sparsity > largest:
        raise ValueError(
            f"sparsity must be at most {int(largest * 1e4) / 1e4} for every leaf to have a "
            f"connection, got {sparsity}"
        )


def _check_not_empty(pattern: str, sparsity: Any, leaf: Leaf) -> None:
    size = math.prod(leaf.one.shape)
    if not is_traced(sparsity) and round_share(1 - sparsity, size) < 1:
        raise ValueError(
            f"sparsity of {pattern} must be at most 1 - 1 / {size} for {leaf.path} to have a "
            f"connection, got {sparsity}"
        )


def _networks(leaf: Leaf) -> int:
    return math.prod(leaf.value.shape[: leaf.stacked])
