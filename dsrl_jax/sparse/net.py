"""A network with a moving topology: gradient step, adaptation, and the average for its target."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.tree_util import GetAttrKey
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from dsrl_jax.sparse import masks as masks_lib
from dsrl_jax.sparse.arguments import check_choice
from dsrl_jax.sparse.leaves import KERNELS, Density, Layout, Masks, Params, find_leaves
from dsrl_jax.sparse.moments import mask_moments
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

    It has no masks: its connections are its weights that are not 0.
    """

    params: Params
    threshold: tuple[Array, ...]  # of each sparse leaf: the guess for its next search


# Checkpoints name the field `threshold` "weakest", as their format did from its beginning.
jax.tree_util.register_pytree_with_keys(
    Target,
    lambda target: (((GetAttrKey("params"), target[0]), (GetAttrKey("weakest"), target[1])), None),
    lambda _, fields: Target(*fields),
)


class Sparsity(NamedTuple):
    """How a network is sparse; static.

    Attributes:
      layout: which leaves are sparse, see `leaves.py`.
      rules: how the topology adapts; with rules.drop "nothing" it never does.
      moments: "sparse": absent weights have no gradient and no optimizer state (the paper's text);
        "dense": the optimizer follows the dense gradient and the mask is applied after it (the
        authors' code).
      target_ties: as `ties` of `topology.keep_largest`.
      exact_count: whether the first masks have exactly the expected number of connections.
    """

    layout: Layout = KERNELS
    rules: Rules = PAPER
    moments: Moments = "sparse"
    target_ties: TargetTies = "exact"
    exact_count: bool = False


def first_moment(opt_state: optax.OptState) -> Params | None:
    """Returns Adam's average of the gradients, which rules that grow by momentum use."""
    return optax.tree_utils.tree_get(opt_state, "mu")


def init_net(
    key: PRNGKeyArray,
    params: Params,
    optimizer: optax.GradientTransformation,
    density: Density,
    sparsity: Sparsity,
) -> SparseNet:
    """Draws masks and applies them to dense first weights (Algorithm 1, lines 1 to 3).

    Raises:
      ValueError: for an unknown name in `sparsity`, or a density outside [0, 1].
    """
    check_rules(sparsity.rules)
    check_choice("moments", sparsity.moments, Moments)
    check_choice("target_ties", sparsity.target_ties, TargetTies)
    # Algorithm 1, line 2; Algorithm 4, line 2
    masks = masks_lib.draw_masks(
        key,
        params,
        density,
        layout=sparsity.layout,
        exact=sparsity.exact_count,
        groups=sparsity.rules.groups,
    )
    # Algorithm 1, line 3; Algorithm 4, line 3
    params = masks_lib.apply_masks(params, masks, sparsity.layout)
    return SparseNet(params, masks, optimizer.init(params))


@jax.named_scope("gradient_step")
def gradient_step(
    net: SparseNet,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
) -> SparseNet:
    """Makes one optimizer step. With dense moments the result is dense and has to be masked."""
    updates, opt_state = optimizer_updates(net, gradients, optimizer, sparsity)
    return SparseNet(optax.apply_updates(net.params, updates), net.masks, opt_state)


def optimizer_updates(
    net: SparseNet,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    sparsity: Sparsity,
) -> tuple[Params, optax.OptState]:
    """Returns the optimizer's update of the params and its next state."""
    if sparsity.moments == "sparse":
        gradients = masks_lib.apply_masks(gradients, net.masks, sparsity.layout)
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
    """Adapts the topology of every sparse layer (Algorithm 2).

    With sparse moments, the optimizer state of every absent connection is reset to the value that
    `init` returns, and a new connection starts from it. (A connection that is dropped and grows
    again at once, which the paper's rules do not allow, keeps its state.)

    Args:
      gradients, momentum: dense trees, for the rules that need them.
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
    )
    if sparsity.moments == "dense":
        return SparseNet(params, masks, net.opt_state)
    # Old and new masks: some optimizers change the state even of a weight without a gradient.
    stayed = SparseNet(params, jax.tree.map(jnp.logical_and, net.masks, masks), net.opt_state)
    return SparseNet(params, masks, clear_moments(stayed, optimizer, sparsity))


def clear_moments(
    net: SparseNet, optimizer: optax.GradientTransformation, sparsity: Sparsity
) -> optax.OptState:
    """Returns the optimizer's state, as its `init` gives it wherever `net` has no connection."""
    # Compiled, an `init` that does not look at params is a constant.
    return mask_moments(
        net.opt_state,
        net.params,
        net.masks,
        fresh=optimizer.init(masks_lib.apply_masks(net.params, net.masks, sparsity.layout)),
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
    momentum: Callable[[optax.OptState], Params | None] = first_moment,
) -> SparseNet:
    """Makes one optimizer step and, if `due`, an adaptation (Algorithm 1, lines 13 to 16).

    A static topology has no branch.

    Args:
      due: must not be batched, or `vmap` turns the branch into a select and every step pays.
      gradients: dense, for the rules that need them; `moments` decides what the step uses.
      momentum: finds a dense momentum in the optimizer's state, for the rules that need one.
    """

    def adapt(net: SparseNet) -> SparseNet:
        signals = {"gradients": gradients}
        if sparsity.rules.grow_by == "momentum":
            signals["momentum"] = momentum(net.opt_state)
        return adapt_net(key, net, drop_fraction, optimizer, sparsity, grow=grow, **signals)

    def keep(net: SparseNet) -> SparseNet:
        if sparsity.moments == "sparse":
            return net  # The step did not leave the mask.
        return net._replace(params=masks_lib.apply_masks(net.params, net.masks, sparsity.layout))

    stepped = gradient_step(net, gradients, optimizer, sparsity)
    if sparsity.rules.drop == "nothing":
        return keep(stepped)
    return lax.cond(due, adapt, keep, stepped)


def init_target(net: SparseNet, sparsity: Sparsity) -> Target:
    """Returns a target equal to the network (Algorithm 1, line 4)."""
    leaves = [leaf for leaf in find_leaves(net.params, sparsity.layout) if leaf.sparse]
    unknown = [jnp.zeros(leaf.value.shape[: leaf.stacked], leaf.value.dtype) for leaf in leaves]
    return Target(net.params, tuple(unknown))  # Algorithm 1, line 4; Algorithm 4, line 4


@jax.named_scope("average_target")
def average_target(
    target: Target, net: SparseNet, tau: float | Float[Array, ""], sparsity: Sparsity
) -> Target:
    """Returns τ θ + (1 - τ) θ', with as many connections as the online network has.

    Source: Algorithm 1, lines 24 to 27; Algorithm 4, lines 21 and 22.
    """

    def average(new: Array, old: Array) -> Array:
        return (tau * new + (1 - tau) * old).astype(old.dtype)  # τ may be of a wider type.

    chex.assert_trees_all_equal_shapes(net.params, target.params)
    # Algorithm 1, lines 24-25; Algorithm 4, line 21
    averaged = jax.tree.map(average, net.params, target.params)
    # Algorithm 1, lines 26-27; Algorithm 4, line 22
    keep = partial(
        masks_lib.maintain_sparsity_from, layout=sparsity.layout, ties=sparsity.target_ties
    )
    return Target(*keep(target.threshold, averaged, net.masks))
