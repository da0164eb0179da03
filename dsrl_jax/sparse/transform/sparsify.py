"""Sparse training with any optax optimizer: `sparsify` wraps it, and masks live in its state."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
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
    """Trains sparse from the first step, with connections that change, by any optimizer.

    After `optax.apply_updates` params are exactly 0 off the masks of the new state, as long as
    they are finite. The gradient of absent weights does not reach the optimizer, and what its
    state holds for a connection (`moments.py`) is as `inner.init` gives it when it comes or goes.
    It is the outermost transformation, or what comes after it must keep an update that is minus
    the weight.

    `update(gradients, state, params, step=step)` takes the caller's counter, which must not be
    batched: then a step without an adaptation costs none under `vmap` too. Without `step` the
    state counts, from 1, and under `vmap` every step pays for an adaptation.

    Args:
      inner: the optimizer; what else `update` is given goes to it.
      sparsity: the share of weights to be absent: of all sparse leaves together, or by path
        pattern, see `find_densities`; or a `Gradual`, which starts dense and prunes.
      key: draws the masks and stays in the state.
      density: in place of a sparsity, as `draw_masks` has it: `erdos_renyi(lam)` for instance.
      distribution: how a sparsity is shared among the leaves, see `share_connections`.
      rules: which connections leave and come, and where they may be; STATIC: none.
      drop_fraction: the share of connections that an adaptation replaces, or a function of the
        step that gives it; 0.3 if None.
      period: steps between two adaptations.
      last_step: the last step that may have one; None: no end.
      momentum_decay: of the gradients' average for rules that grow by it (SNFS).
      is_sparse, stacked_axes: which leaves are sparse, and which are stacks, see `leaves.py`.
    Raises:
      ValueError: for settings outside their range or that exclude each other; in `init` and
        `update`, for params that it cannot make sparse.
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

    masks = kept = state.masks
    if plan.changes_masks:

        def adapt(masks: Masks) -> tuple[Masks, Masks]:
            # Stepped here too: so that a step without an adaptation passes only masks on.
            stepped = gradient_step(
                SparseNet(params, masks, state.inner), gradients, optimizer, sparsity
            )
            return _adapt(
                plan, layout, state.key, now, stepped.params, gradients, momentum, masks
            )

        masks, kept = jax.lax.cond(plan.due(now), adapt, lambda masks: (masks, masks), masks)
    net = SparseNet(params, kept, state.inner)
    net = net._replace(opt_state=clear_moments(net, optimizer, sparsity))
    updates, opt_state = optimizer_updates(net, gradients, optimizer, sparsity)
    updates = map_sparse(_step_or_remove, updates, kept, params, layout=layout)
    return updates, SparsifyState(opt_state, masks, state.key, now, momentum)


def _adapt(
    plan: Plan,
    layout: Layout,
    key: PRNGKeyArray,
    step: Array,
    stepped: Params,
    gradients: Params,
    momentum: Params | None,
    masks: Masks,
) -> tuple[Masks, Masks]:
    """Returns the adapted masks, and which of their connections keep weight and moments."""
    stepped = masks_lib.apply_masks(stepped, masks, layout)
    if isinstance(plan.sparsity, Gradual):
        density = _gradual_density(plan, stepped, step)
        adapted, after = masks_lib.prune(stepped, masks, density, layout=layout)
    else:
        adapted, after = masks_lib.adapt(
            jax.random.fold_in(key, step),
            stepped,
            masks,
            plan.fraction(step),
            layout=layout,
            rules=plan.rules,
            gradients=gradients,
            momentum=momentum,
        )

    def keep(new: Array, old: Array, weight: Array, adapted: Array) -> Array:
        # A connection that was dropped and grew again at once starts again from 0.
        return new & old & ~((adapted == 0) & (weight != 0))

    return after, map_sparse(keep, after, masks, stepped, adapted, layout=layout)


def _step_or_remove(update: Array, kept: Array, param: Array) -> Array:
    """p + (-p) is exactly 0 for every finite p; the update has the wider dtype of the two."""
    dtype = jnp.promote_types(update.dtype, param.dtype)
    return jnp.where(kept, update.astype(dtype), -param.astype(dtype))


def _final_densities(plan: Plan, params: Params) -> dict[str, Any]:
    """By path; with N:M groups they have no effect."""
    wanted = plan.sparsity.final if isinstance(plan.sparsity, Gradual) else plan.sparsity
    return find_densities(
        params,
        0.0 if wanted is None else wanted,
        plan.distribution,
        layout=plan.layout,
    )


def _gradual_density(plan: Plan, params: Params, step: Array) -> Any:
    final, gradual = _final_densities(plan, params), plan.sparsity
    assert isinstance(gradual, Gradual)
    return lambda path, shape: 1 - gradual_sparsity(gradual, 1 - final[path], step)


def _decay(decay: float, momentum: Array, gradient: Array) -> Array:
    """SNFS, Dettmers & Zettlemoyer 2019, Algorithm 1: an average of the dense gradient."""
    return (decay * momentum + (1 - decay) * gradient).astype(momentum.dtype)
