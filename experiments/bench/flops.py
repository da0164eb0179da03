"""How many multiplications and additions the matrix products of one dense update need."""

from collections.abc import Mapping

from dsrl_jax.agents.layers import CRITICS, layer_shapes
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import AgentConfig, TD3Config

Layers = Mapping[str, tuple[int, int]]  # n_in, n_out by layer; the first takes the inputs


def product_flops(rows: int, inner: int, columns: int) -> int:
    """Of `[rows, inner] @ [inner, columns]`: one multiplication and one addition a term."""
    return 2 * rows * inner * columns


def forward_flops(layers: Layers, batch: int) -> int:
    """Of the outputs of a network for a batch: one product a layer."""
    return sum(product_flops(batch, n_in, n_out) for n_in, n_out in layers.values())


def weight_gradient_flops(layers: Layers, batch: int) -> int:
    """Of the gradient of every kernel: inputs transposed times the gradient of the outputs."""
    return sum(product_flops(n_in, batch, n_out) for n_in, n_out in layers.values())


def input_gradient_flops(layers: Layers, batch: int, inputs: int = 0) -> int:
    """Of the gradient of every layer's inputs: that of the outputs times the kernel transposed.

    Args:
      inputs: how many of the first layer's inputs need a gradient; those of the network are data,
        but for the actions that come from an actor.
    """
    (_, n_first), *further = layers.values()
    return product_flops(batch, n_first, inputs) + sum(
        product_flops(batch, n_out, n_in) for n_in, n_out in further
    )


def update_flops(spaces: Spaces, config: AgentConfig) -> float:
    """Of the matrix products of one update, on average over updates, all weights counted.

    Counted, for the batch of an update:
      the target: one pass forward of the actor that chooses the next action (TD3: the target
        actor) and of both target critics;
      the critics' loss: both critics forward; back, the gradients of all their kernels, and of
        the inputs of all layers but the first;
      the actor's loss, at every `policy_delay`-th update: the actor forward; its critics (TD3: the
        first; SAC: both) forward; back through them the gradients of all layers' inputs, of the
        first layer's inputs those that are actions, and of no kernel; through the actor those of
        all its kernels, and of the inputs of all layers but the first.
    Not counted: everything that is no matrix product (biases, activations, losses, noise, the
    optimizer, averages of targets, and what sparse layers need), which only takes time.
    """
    shapes, batch = layer_shapes(spaces, config), config.batch_size
    actor, critics = shapes["actor"], [shapes[name] for name in CRITICS]
    target = forward_flops(actor, batch) + sum(forward_flops(c, batch) for c in critics)
    critic_loss = sum(_training_flops(critic, batch) for critic in critics)
    judges = critics[:1] if isinstance(config, TD3Config) else critics
    actor_loss = _training_flops(actor, batch) + sum(
        forward_flops(critic, batch) + input_gradient_flops(critic, batch, spaces.action_size)
        for critic in judges
    )
    return target + critic_loss + actor_loss / config.policy_delay


def _training_flops(layers: Layers, batch: int) -> int:
    """A pass forward, and back to all kernels."""
    return (
        forward_flops(layers, batch)
        + weight_gradient_flops(layers, batch)
        + input_gradient_flops(layers, batch)
    )
