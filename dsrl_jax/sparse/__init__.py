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
from dsrl_jax.sparse.masks import (
    adapt,
    apply_masks,
    count_connections,
    draw_masks,
    is_kernel,
    maintain_sparsity,
)
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
from dsrl_jax.sparse.selection import count_true, select_largest, select_smallest
from dsrl_jax.sparse.topology import (
    OFFICIAL,
    PAPER,
    Rules,
    drop_and_grow,
    drop_balanced,
    drop_per_sign,
    erdos_renyi_density,
    keep_largest,
    random_mask,
    select_random,
)

__all__ = [
    "OFFICIAL",
    "PAPER",
    "Layer",
    "Rules",
    "SparseNet",
    "Sparsity",
    "Target",
    "adapt",
    "adapt_net",
    "apply_masks",
    "average_target",
    "count_connections",
    "count_true",
    "count_weights",
    "draw_masks",
    "drop_and_grow",
    "drop_balanced",
    "drop_per_sign",
    "erdos_renyi_density",
    "expected_connections",
    "fewest_connections",
    "gradient_step",
    "inference_flops",
    "init_net",
    "init_target",
    "is_kernel",
    "keep_largest",
    "maintain_sparsity",
    "random_mask",
    "run_if",
    "select_largest",
    "select_random",
    "select_smallest",
    "share_connections",
    "sparse_bytes",
    "step_and_adapt",
    "stored_bytes",
    "training_flops",
]
