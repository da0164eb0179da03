"""Sparse training with any optax optimizer: `sparsify`, its schedules, and inspection."""

from dsrl_jax.sparse.transform.densities import erdos_renyi, find_densities
from dsrl_jax.sparse.transform.schedules import (
    Gradual,
    cosine_fraction,
    gradual_sparsity,
    linear_fraction,
)
from dsrl_jax.sparse.transform.sparsify import sparsify
from dsrl_jax.sparse.transform.state import SparsifyState, get_masks
from dsrl_jax.sparse.transform.summary import check, layer_rows, summary

__all__ = [
    "Gradual",
    "SparsifyState",
    "check",
    "cosine_fraction",
    "erdos_renyi",
    "find_densities",
    "get_masks",
    "gradual_sparsity",
    "layer_rows",
    "linear_fraction",
    "sparsify",
    "summary",
]
