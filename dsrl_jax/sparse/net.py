"""A network with a moving topology: gradient step, adaptation, and the average for its target."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from dsrl_jax.sparse import masks as masks_lib
from dsrl_jax.sparse.branch import run_if
from dsrl_jax.sparse.leaves import KERNELS, Density, Layout, Masks, Params, find_leaves
from dsrl_jax.sparse.moments import mask_moments
from dsrl_jax.sparse.numbers import check_choice
from dsrl_jax.sparse.rules import PAPER, Rules, check_rules
from dsrl_jax.sparse.topology import TargetTies

Moments = Literal["sparse", "dense"]


class SparseNet(NamedTuple):
    """A network, its topology and its optimizer. `params` is 0 wherever `masks` is False."""

    params: Params
    masks: Masks
    opt_state: optax.OptState


class Target(NamedTuple):
    """A slow copy of a network, with at most as many connections in each layer.

    It keeps no masks: what is connected is not 0.
    """

    params: Params
    weakest: tuple[Array, ...]  # of each sparse leaf; about where its next search ends


class Sparsity(NamedTuple):
    """How a network is sparse; static.

    Attributes:
      layout: which leaves are sparse, see `leaves.py`.
      moments: "sparse": absent weights have no gradient and no optimizer state (the paper's text);
        "dense": the optimizer follows the dense gradient and the mask is applied after it (the
        authors' code).
      exact_count: whether the first masks have exactly the expected count of connections.
      leaves_per_loop: kernels of one form that a loop adapts in turn, at most; more cost less at
        each call and need more memory.
    """

    layout: Layout = KERNELS
    rules: Rules = PAPER
    moments: Moments = "sparse"
    target_ties: TargetTies = "exact"
    exact_count: bool = False
    leaves_per_loop: int = 1


def init_net(
    key: PRNGKeyArray,
    params: Params,
    optimizer: optax.GradientTransformation,
    density: Density,
    sparsity: Sparsity,
) -> SparseNet:
    """Draws masks and applies them to dense first weights (Algorithm 1, lines 1 to 3).

    Raises:
      ValueError: for a name in `sparsity` that is none of those allowed.
    """
    check_rules(sparsity.rules)
    check_choice("moments", sparsity.moments, Moments)
    check_choice("target_ties", sparsity.target_ties, TargetTies)
    masks = masks_lib.draw_masks(
        key,
        params,
        density,
        layout=sparsity.layout,
        exact=sparsity.exact_count,
        groups=sparsity.rules.groups,
    )
    params = _apply_masks(params, masks, sparsity)
    return SparseNet(params, masks, optimizer.init(params))


@jax.named_scope("gradient_step")
def gradient_step(
    net: SparseNet,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
) -> SparseNet:
    """One optimizer step. With dense moments the result is dense, and still to be masked."""
    updates, opt_state = optimizer_updates(net, gradients, optimizer, sparsity)
    return SparseNet(optax.apply_updates(net.params, updates), net.masks, opt_state)


def optimizer_updates(
    net: SparseNet,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
) -> tuple[Params, optax.OptState]:
    """What the optimizer would add to the params, and its next state."""
    if sparsity.moments == "sparse":
        gradients = _apply_masks(gradients, net.masks, sparsity)
    updates, opt_state = optimizer.update(gradients, net.opt_state, net.params)
    return updates, opt_state


@jax.named_scope("adapt_net")
def adapt_net(
    key: PRNGKeyArray,
    net: SparseNet,
    drop_fraction: float | Float[Array, ""],
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
    *,
    grow: bool | Bool[Array, ""] = True,
    gradients: Params | None = None,
    momentum: Params | None = None,
) -> SparseNet:
    """Topological adaptation (Algorithm 2) of every sparse layer.

    With sparse moments the optimizer's state of every absent connection is what its `init` gives,
    and one that grows where none was starts from that. (A connection that is dropped and comes
    back at once, which the paper's rules do not allow, keeps its state.)

    Args:
      gradients, momentum: dense trees, for the rules that look at them.
    """
    params, masks = masks_lib.adapt(
        key,
        net.params,
        net.masks,
        drop_fraction,
        layout=sparsity.layout,
        rules=sparsity.rules,
        grow=grow,
        gradients=gradients,
        momentum=momentum,
        leaves_per_loop=sparsity.leaves_per_loop,
    )
    if sparsity.moments == "dense":
        return SparseNet(params, masks, net.opt_state)
    # Old and new masks: some optimizers make a state of zeros where no connection is.
    stayed = SparseNet(params, jax.tree.map(jnp.logical_and, net.masks, masks), net.opt_state)
    return SparseNet(params, masks, clear_moments(stayed, optimizer, sparsity))


def clear_moments(
    net: SparseNet, optimizer: optax.GradientTransformation, sparsity: Sparsity
) -> optax.OptState:
    """The optimizer's state as its `init` gives it, for what has no connection in `net.masks`."""
    # Compiled, an `init` that does not look at params is a constant.
    return mask_moments(
        net.opt_state,
        net.params,
        net.masks,
        fresh=optimizer.init(_apply_masks(net.params, net.masks, sparsity)),
        layout=sparsity.layout,
    )


def step_and_adapt(
    due: bool | Bool[Array, ""],
    key: PRNGKeyArray,
    net: SparseNet,
    gradients: Params,
    drop_fraction: float | Float[Array, ""],
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
    *,
    grow: bool | Bool[Array, ""] = True,
    momentum: Callable[[optax.OptState], Params] | None = None,
) -> SparseNet:
    """One optimizer step (Algorithm 1, line 13), then an adaptation where `due` (14 to 16).

    Args:
      due: must not be batched, see `run_if`.
      gradients: dense, for the rules that look at them; the step takes what `moments` says.
      momentum: finds a dense one in the optimizer's state, for the rules that look at it.
    """

    def change(stepped: SparseNet) -> SparseNet:
        return adapt_net(
            key,
            stepped,
            drop_fraction,
            optimizer,
            sparsity,
            grow=grow,
            gradients=gradients,
            momentum=None if momentum is None else momentum(stepped.opt_state),
        )

    adapted = run_if(due, change, gradient_step(net, gradients, optimizer, sparsity))
    if sparsity.moments == "sparse":
        return adapted  # No step has left the mask.
    return adapted._replace(params=_apply_masks(adapted.params, adapted.masks, sparsity))


def init_target(net: SparseNet, sparsity: Sparsity) -> Target:
    """The network itself (Algorithm 1, line 4)."""
    leaves = find_leaves(net.params, layout=sparsity.layout)
    unknown = [
        jnp.zeros(leaf.value.shape[: leaf.stacked], leaf.value.dtype)
        for leaf in leaves
        if leaf.sparse
    ]
    return Target(net.params, tuple(unknown))


@jax.named_scope("average_target")
def average_target(
    due: bool | Bool[Array, ""],
    target: Target,
    net: SparseNet,
    tau: float | Float[Array, ""],
    sparsity: Sparsity,
) -> Target:
    """τ θ + (1 - τ) θ', then as many connections as the online network's (lines 24 to 27).

    Where `due`, which must not be batched (see `run_if`); else the target as it is.
    """

    def average(new: Array, old: Array) -> Array:
        return (tau * new + (1 - tau) * old).astype(old.dtype)  # τ may be of a wider type.

    params, weakest = masks_lib.average_and_maintain(
        due,
        average,
        net.params,
        net.masks,
        target.params,
        target.weakest,
        layout=sparsity.layout,
        ties=sparsity.target_ties,
    )
    return Target(params, weakest)


def _apply_masks(params: Params, masks: Masks, sparsity: Sparsity) -> Params:
    return masks_lib.apply_masks(params, masks, layout=sparsity.layout)
