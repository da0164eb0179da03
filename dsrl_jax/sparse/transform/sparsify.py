"""Sparse training with any optax optimizer: `sparsify` wraps it, and masks live in its state."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from dsrl_jax.sparse import masks as masks_lib
from dsrl_jax.sparse.distribution import Distribution
from dsrl_jax.sparse.leaves import (
    Density,
    IsSparse,
    Layout,
    Params,
    StackedAxes,
    find_leaves,
    is_kernel,
    map_sparse,
)
from dsrl_jax.sparse.net import (
    SparseNet,
    Sparsity,
    adapt_net,
    clear_moments,
    gradient_step,
    optimizer_updates,
)
from dsrl_jax.sparse.packing import Packed, pack, unpack
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
    where: Any = {"layout": plan.layout}
    if isinstance(plan.sparsity, Gradual):
        _final_densities(plan, params)  # Refuses what cannot be had.
        masks = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
    else:
        density = plan.density
        if density is None:
            densities = _final_densities(plan, params)
            density = lambda path, shape: densities[path]  # noqa: E731
        first = jax.random.fold_in(key, 0)
        masks = masks_lib.draw_masks(
            first, params, density, exact=True, groups=plan.rules.groups, **where
        )
    momentum = None
    if plan.rules.grow_by == "momentum":
        leaves = find_leaves(params, **where)
        zeros = [jnp.zeros_like(leaf.value) if leaf.sparse else jnp.zeros(0) for leaf in leaves]
        momentum = jax.tree.unflatten(jax.tree.structure(params), zeros)
    opt_state = inner.init(masks_lib.apply_masks(params, masks, **where))
    packed = pack(masks)
    came = jax.tree.map(jnp.zeros_like, packed) if plan.changes_masks else None
    # A copy, so that a caller who donates the state keeps the key.
    return SparsifyState(
        opt_state,
        packed,
        came,
        has_come=jnp.zeros((), bool),
        key=jnp.copy(key),
        step=jnp.zeros((), jnp.int32),
        momentum=momentum,
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
    """An optimizer step, then an adaptation where the schedule has one (Algorithm 1, 13 to 16)."""
    if params is None:
        raise ValueError("sparsify needs params, got none: update(gradients, state, params)")
    check_replicated(params, "params")
    check_replicated(gradients, "gradients")
    now = state.step + 1 if step is None else jnp.asarray(step, jnp.int32)
    sparsity = _sparsity(plan, params)
    where: Any = {"layout": sparsity.layout}
    optimizer = optax.GradientTransformation(inner.init, partial(inner.update, **extra))
    momentum = state.momentum
    if momentum is not None:
        momentum = map_sparse(partial(_decay, plan.momentum_decay), momentum, gradients, **where)
    due = plan.due(now)
    packed, came, has_come = state.masks, state.came, state.has_come
    if plan.changes_masks:
        adapt = partial(
            _adapt_masks, plan, optimizer, sparsity, params, state, gradients, momentum, now
        )
        packed, came = jax.lax.cond(
            due | state.has_come,
            partial(_change_masks, jnp.asarray(due), adapt),
            lambda both: both,
            (packed, came),
        )
        has_come = jnp.asarray(due)
    else:
        # Or a loop would unpack masks that never change before its first pass, and read them whole.
        packed, _ = jax.lax.optimization_barrier((packed, now))
    masks = unpack(packed)
    # Masked as it comes in, not as it goes out: a state that is read both before and after a mask
    # is copied. What goes out for an absent weight is what the optimizer makes of no gradient,
    # 0 for most; it is masked again before it is used.
    net = SparseNet(params, masks, state.inner)
    net = net._replace(opt_state=clear_moments(net, optimizer, sparsity))
    updates, opt_state = optimizer_updates(net, gradients, optimizer, sparsity)
    updates = map_sparse(_step_or_zero, updates, masks, params, **where)
    return updates, SparsifyState(opt_state, packed, came, has_come, state.key, now, momentum)


def _change_masks(
    due: Bool[Array, ""],
    adapt: Callable[[tuple[Packed, Packed]], tuple[Packed, Packed]],
    both: tuple[Packed, Packed],
) -> tuple[Packed, Packed]:
    """The masks that this step trains, and what comes with it.

    The two are apart so that a step without a change reads one mask and writes none: XLA would
    copy a mask that is needed beside its successor, into memory that is new at each call.
    """
    packed, came = both
    whole = jax.tree.map(jnp.bitwise_or, packed, came)
    none = jax.tree.map(jnp.zeros_like, came)
    return jax.lax.cond(due, adapt, lambda both: both, (whole, none))


def _adapt_masks(
    plan: Plan,
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
    params: Params,
    state: SparsifyState,
    gradients: Params,
    momentum: Params | None,
    step: Array,
    both: tuple[Packed, Packed],
) -> tuple[Packed, Packed]:
    """After this step's adaptation: which connections keep their weight, and which came.

    The step is made for them and thrown away: what changes params comes out of `_update` alone.
    """
    before = unpack(both[0])
    where: Any = {"layout": sparsity.layout}
    net = SparseNet(params, before, state.inner)
    stepped = gradient_step(net, gradients, optimizer, sparsity)
    stepped = stepped._replace(params=masks_lib.apply_masks(stepped.params, before, **where))
    if isinstance(plan.sparsity, Gradual):
        density = _gradual_density(plan, params, step)
        new_params, after = masks_lib.prune(stepped.params, before, density, **where)
    else:
        new_params, after, _ = adapt_net(
            jax.random.fold_in(state.key, step),
            stepped,
            plan.fraction(step),
            optimizer,
            sparsity,
            gradients=gradients,
            momentum=momentum,
        )
    kept = map_sparse(_kept, after, before, stepped.params, new_params, **where)
    return pack(kept), pack(jax.tree.map(lambda mask, stays: mask & ~stays, after, kept))


def _step_or_zero(update: Array, kept: Array, param: Array) -> Array:
    """p + (-p) is exactly 0 for every finite p; the update has the wider dtype of the two."""
    dtype = jnp.promote_types(update.dtype, param.dtype)
    return jnp.where(kept, update.astype(dtype), -param.astype(dtype))


def _sparsity(plan: Plan, params: Params) -> Sparsity:
    """The predicate sees the dtypes of params, also where gradients or masks are asked about."""
    leaves = find_leaves(params, layout=plan.layout)
    sparse = {leaf.path for leaf in leaves if leaf.sparse}
    return Sparsity(
        Layout(lambda path, leaf: path in sparse, plan.layout.stacked_axes),
        plan.rules,
    )


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


def _kept(
    mask: Bool[Array, "..."], before: Bool[Array, "..."], stepped: Array, adapted: Array
) -> Bool[Array, "..."]:
    """Connections that were there and keep their weight; what was dropped may have come back."""
    reset = (adapted == 0) & (stepped != 0)
    return mask & before & ~reset


def _decay(decay: float, momentum: Array, gradient: Array) -> Array:
    """SNFS, Dettmers & Zettlemoyer 2019, Algorithm 1: an average of the dense gradient."""
    return (decay * momentum + (1 - decay) * gradient).astype(momentum.dtype)
