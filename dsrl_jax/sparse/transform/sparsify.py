"""Wraps any optax optimizer for sparse training; the masks live in its state."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from dsrl_jax.sparse import masks as masks_lib
from dsrl_jax.sparse.distribution import Distribution
from dsrl_jax.sparse.leaves import (
    Density,
    IsSparse,
    Layout,
    Masks,
    Params,
    StackedAxes,
    find_leaves,
    is_kernel,
    map_sparse,
)
from dsrl_jax.sparse.net import (
    SparseNet,
    Sparsity,
    clear_moments,
    gradient_step,
    optimizer_updates,
)
from dsrl_jax.sparse.rules import PAPER, Rules
from dsrl_jax.sparse.transform.checks import Plan, check_plan, check_replicated
from dsrl_jax.sparse.transform.densities import Sparsities, find_densities
from dsrl_jax.sparse.transform.schedules import Fraction, Gradual, gradual_sparsity
from dsrl_jax.sparse.transform.state import SparsifyState

# The fate of each connection, as a tree like the masks: one int8 array per leaf, because XLA
# copies every array that a branch returns.
Fates = Any
_ABSENT, _GROWN, _KEPT = np.int8(0), np.int8(1), np.int8(2)


def sparsify(
    inner: optax.GradientTransformation,
    sparsity: Sparsities | Gradual | None = None,
    *,
    key: PRNGKeyArray,
    density: Density | None = None,
    distribution: Distribution = "erk",
    rules: Rules = PAPER,
    drop_fraction: Fraction | None = None,
    period: int = 100,
    last_step: int | None = None,
    momentum_decay: float = 0.9,
    is_sparse: IsSparse = is_kernel,
    stacked_axes: StackedAxes = 0,
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer so that it trains a sparse network whose connections change.

    After `optax.apply_updates`, params are exactly 0 off the masks of the new state, as long as
    they are finite. Absent weights have no gradient, and a connection that grows starts with weight
    0 and with the optimizer state that `inner.init` gives. `sparsify` must be the outermost
    transformation: what follows it could move an absent weight off 0.

    `update(gradients, state, params, step=step)` takes the caller's step, counted from 1. Under
    `vmap` it must not be batched; then a step without an adaptation does not pay for one. Without
    `step` the state counts, and under `vmap` every step pays for an adaptation.

    Args:
      inner: the optimizer; `update` passes other keyword arguments on to it.
      sparsity: the share of absent weights: of all sparse leaves together, or by path pattern (see
        `find_densities`), or a `Gradual`, which starts dense and prunes.
      key: draws the first masks; the state keeps it for growth.
      density: in place of a sparsity, as in `draw_masks`; for instance `erdos_renyi(lam)`.
      distribution: how the leaves share a sparsity, see `share_connections`.
      rules: which connections are dropped and grown, and where they may be; STATIC: none.
      drop_fraction: the share of connections that an adaptation replaces, or a function of the
        step that returns it; None: 0.3.
      period: steps between two adaptations.
      last_step: the last step that may have an adaptation; None: no end.
      momentum_decay: decay of the average gradient, for rules that grow by momentum (SNFS).
      is_sparse, stacked_axes: which leaves are sparse and which are stacked, see `Layout`.
    Raises:
      ValueError: if a setting is outside its range or contradicts another; in `init` and `update`,
        if the params cannot be made sparse.
    """
    plan = Plan(
        sparsity=sparsity,
        density=density,
        distribution=distribution,
        rules=rules,
        drop_fraction=drop_fraction,
        period=period,
        last_step=last_step,
        momentum_decay=momentum_decay,
        layout=Layout(is_sparse, stacked_axes),
    )
    check_plan(plan)
    inner = optax.with_extra_args_support(inner)
    return optax.GradientTransformationExtraArgs(
        partial(_init, inner, plan, key), partial(_update, inner, plan)
    )


def _init(
    inner: optax.GradientTransformation, plan: Plan, key: PRNGKeyArray, params: Params
) -> SparsifyState:
    check_replicated(params, "params")
    masks = _first_masks(plan, jax.random.fold_in(key, 0), params)
    momentum = None
    if plan.rules.grow_by == "momentum":
        leaves = find_leaves(params, plan.layout)
        zeros = [jnp.zeros_like(leaf.value) if leaf.sparse else jnp.zeros(0) for leaf in leaves]
        momentum = jax.tree.unflatten(jax.tree.structure(params), zeros)
    opt_state = inner.init(masks_lib.apply_masks(params, masks, plan.layout))
    # A copy, so that a caller who donates the state keeps the key.
    return SparsifyState(opt_state, masks, jnp.copy(key), jnp.zeros((), jnp.int32), momentum)


def _first_masks(plan: Plan, key: PRNGKeyArray, params: Params) -> Masks:
    density = plan.density
    if density is None:
        densities = _final_densities(plan, params)  # Raises ValueError for an impossible sparsity.
        density = lambda path, shape: densities[path]  # noqa: E731
    if isinstance(plan.sparsity, Gradual):
        return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
    return masks_lib.draw_masks(
        key, params, density, layout=plan.layout, exact=True, groups=plan.rules.groups
    )


def _update(
    inner: optax.GradientTransformationExtraArgs,
    plan: Plan,
    gradients: Params,
    state: SparsifyState,
    params: Params | None = None,
    *,
    step: int | Int[Array, ""] | None = None,
    **extra: Any,
) -> tuple[Params, SparsifyState]:
    """Makes an optimizer step and, if one is due, an adaptation (Algorithm 1, lines 13 to 16)."""
    if params is None:
        raise ValueError("sparsify needs params, got none: update(gradients, state, params)")
    check_replicated(params, "params")
    check_replicated(gradients, "gradients")
    now = state.step + 1 if step is None else jnp.asarray(step, jnp.int32)
    # The predicate sees the dtypes of params, also where gradients or masks are asked about.
    paths = {leaf.path for leaf in find_leaves(params, plan.layout) if leaf.sparse}
    layout = Layout(lambda path, leaf: path in paths, plan.layout.stacked_axes)
    sparsity = Sparsity(layout, plan.rules)
    optimizer = optax.GradientTransformation(inner.init, partial(inner.update, **extra))
    momentum = state.momentum
    if momentum is not None:
        decay = partial(_decay, plan.momentum_decay)
        momentum = map_sparse(decay, momentum, gradients, layout=layout)

    net = SparseNet(params, state.masks, state.inner)
    masks = kept = state.masks
    if plan.changes_masks:
        key = jax.random.fold_in(state.key, now)
        adapt = partial(_adapt, plan, sparsity, optimizer, key, now, gradients, momentum)
        fates = jax.lax.cond(plan.due(now), adapt, _keep_all, net)
        masks = jax.tree.map(lambda fate: fate > _ABSENT, fates)
        kept = jax.tree.map(lambda fate: fate == _KEPT, fates)
    # The state is masked before the step: XLA copies one that is read both before and after a mask.
    net = net._replace(masks=kept)
    net = net._replace(opt_state=clear_moments(net, optimizer, sparsity))
    updates, opt_state = optimizer_updates(net, gradients, optimizer, sparsity)
    updates = map_sparse(_step_or_remove, updates, kept, params, layout=layout)
    return updates, SparsifyState(opt_state, masks, state.key, now, momentum)


def _keep_all(net: SparseNet) -> Fates:
    """Returns the fates if nothing changes."""
    return jax.tree.map(lambda mask: jnp.where(mask, _KEPT, _ABSENT), net.masks)


def _adapt(
    plan: Plan,
    sparsity: Sparsity,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    step: Array,
    gradients: Params,
    momentum: Params | None,
    net: SparseNet,
) -> Fates:
    """Returns the fate of every connection if the topology adapts after this step.

    `_update` repeats the step, so that nothing but the fates leaves the branch.
    """
    layout = sparsity.layout
    stepped = gradient_step(net, gradients, optimizer, sparsity).params
    stepped = masks_lib.apply_masks(stepped, net.masks, layout)
    if isinstance(plan.sparsity, Gradual):
        density = _gradual_density(plan, net.params, step)
        adapted, masks = masks_lib.prune(stepped, net.masks, density, layout=layout)
    else:
        adapted, masks = masks_lib.adapt(
            key,
            stepped,
            net.masks,
            plan.fraction(step),
            layout=layout,
            rules=plan.rules,
            gradients=gradients,
            momentum=momentum,
        )

    def compare(new: Array, old: Array, before: Array, after: Array) -> Array:
        # A connection that is dropped and grows again at once starts from 0 and is not kept.
        kept = new & old & ((after != 0) | (before == 0))
        return jnp.where(kept, _KEPT, jnp.where(new, _GROWN, _ABSENT))

    return jax.tree.map(compare, masks, net.masks, stepped, adapted)


def _step_or_remove(update: Array, kept: Array, param: Array) -> Array:
    """Returns the update of a kept weight, else -p: p + (-p) is exactly 0 for every finite p.

    The result has the wider dtype of the two, so that p is not rounded.
    """
    dtype = jnp.promote_types(update.dtype, param.dtype)
    return jnp.where(kept, update.astype(dtype), -param.astype(dtype))


def _final_densities(plan: Plan, params: Params) -> dict[str, Any]:
    """Returns the density of each sparse leaf by path; with N:M groups it has no effect."""
    final = plan.sparsity.final if isinstance(plan.sparsity, Gradual) else plan.sparsity
    return find_densities(params, 0.0 if final is None else final, plan.distribution, plan.layout)


def _gradual_density(plan: Plan, params: Params, step: Array) -> Any:
    """Returns the density of a leaf at a step of gradual pruning, as a function of its path."""
    final, gradual = _final_densities(plan, params), plan.sparsity
    assert isinstance(gradual, Gradual)
    return lambda path, shape: 1 - gradual_sparsity(gradual, 1 - final[path], step)


def _decay(decay: float, momentum: Array, gradient: Array) -> Array:
    """Averages the dense gradient (SNFS, Dettmers & Zettlemoyer 2019, Algorithm 1)."""
    return (decay * momentum + (1 - decay) * gradient).astype(momentum.dtype)
