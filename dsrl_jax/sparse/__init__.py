"""Dynamic sparse training as pure functions of kernels and boolean masks.

Needs JAX and optax only. `topology` works on one kernel, `masks` on a tree of them, `net` adds an
optimizer, `distribution` shares a total among layers, `costs` counts.
"""

from dsrl_jax.sparse.branch import run_if
from dsrl_jax.sparse.costs import (
    Layer,
    count_weights,
    expected_connections,
    inference_flops,
    sparse_bytes,
    stored_bytes,
    training_flops,
)
from dsrl_jax.sparse.distribution import fewest_connections, share_connections
from dsrl_jax.sparse.groups import Groups, constant_fan_in, n_of_m
from dsrl_jax.sparse.leaves import KERNELS, Layout, is_kernel
from dsrl_jax.sparse.masks import (
    adapt,
    apply_masks,
    count_connections,
    draw_masks,
    maintain_sparsity,
    prune,
)
from dsrl_jax.sparse.moments import mask_moments
from dsrl_jax.sparse.net import (
    SparseNet,
    Sparsity,
    Target,
    adapt_net,
    average_target,
    gradient_step,
    init_net,
    init_target,
    step_and_adapt,
)
from dsrl_jax.sparse.rules import (
    OFFICIAL,
    PAPER,
    RIGL,
    SET,
    SNFS,
    STATIC,
    Rules,
    drop_balanced,
    drop_insensitive,
    drop_nothing,
    drop_per_sign,
    drop_smallest,
    grow_random,
    grow_strongest,
    select_random,
)
from dsrl_jax.sparse.selection import count_true, select_largest, select_smallest
from dsrl_jax.sparse.topology import (
    drop_and_grow,
    erdos_renyi_density,
    keep_largest,
    random_mask,
)
from dsrl_jax.sparse.topology import (
    prune as prune_kernel,
)
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
    "KERNELS",
    "OFFICIAL",
    "PAPER",
    "RIGL",
    "SET",
    "SNFS",
    "STATIC",
    "Gradual",
    "Groups",
    "Layer",
    "Layout",
    "Rules",
    "SparseNet",
    "SparsifyState",
    "Sparsity",
    "Target",
    "adapt",
    "adapt_net",
    "apply_masks",
    "average_target",
    "check",
    "constant_fan_in",
    "cosine_fraction",
    "count_connections",
    "count_true",
    "count_weights",
    "draw_masks",
    "drop_and_grow",
    "drop_balanced",
    "drop_insensitive",
    "drop_nothing",
    "drop_per_sign",
    "drop_smallest",
    "erdos_renyi",
    "erdos_renyi_density",
    "expected_connections",
    "fewest_connections",
    "find_densities",
    "get_masks",
    "gradient_step",
    "gradual_sparsity",
    "grow_random",
    "grow_strongest",
    "inference_flops",
    "init_net",
    "init_target",
    "is_kernel",
    "keep_largest",
    "layer_rows",
    "linear_fraction",
    "maintain_sparsity",
    "mask_moments",
    "n_of_m",
    "prune",
    "prune_kernel",
    "random_mask",
    "run_if",
    "select_largest",
    "select_random",
    "select_smallest",
    "share_connections",
    "sparse_bytes",
    "sparsify",
    "step_and_adapt",
    "stored_bytes",
    "summary",
    "training_flops",
]
