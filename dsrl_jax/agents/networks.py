"""Multi-layer perceptrons of actor and critics."""

from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from dsrl_jax.agents.layers import CRITICS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.sparse.leaves import Params

Initializer = Callable[..., Array]


def uniform_fan_in(n_in: int) -> tuple[Initializer, Initializer]:
    """Returns U(-1/sqrt(n_in), 1/sqrt(n_in)) with the dense n_in, for kernel and bias."""
    bound = n_in**-0.5

    def initialize(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize, initialize


def xavier_uniform(n_in: int) -> tuple[Initializer, Initializer]:
    """Returns U(-b, b) with b = sqrt(6 / (n_in + n_out)) for the kernel, 0 for the bias.

    Both sizes are read off the kernel's shape.
    """
    return nn.initializers.xavier_uniform(), nn.initializers.zeros_init()


class MLP(nn.Module):
    """ReLU layers `hidden_0`, `hidden_1`, …, and linear heads on the last hidden layer."""

    hidden_sizes: tuple[int, ...]
    head_size: int
    heads: tuple[str, ...] = ("output",)
    initializers: Callable[[int], tuple[Initializer, Initializer]] = uniform_fan_in

    @nn.compact
    def __call__(self, x: Float[Array, "*batch n_in"]) -> tuple[Float[Array, "*batch n_out"], ...]:
        """Returns one output per head."""
        for index, size in enumerate(self.hidden_sizes):
            x = nn.relu(self._layer(f"hidden_{index}", x.shape[-1], size)(x))
        return tuple(self._layer(name, x.shape[-1], self.head_size)(x) for name in self.heads)

    def _layer(self, name: str, n_in: int, size: int) -> nn.Dense:
        kernel_init, bias_init = self.initializers(n_in)
        return nn.Dense(size, kernel_init=kernel_init, bias_init=bias_init, name=name)


def init_critics(key: PRNGKeyArray, network: MLP, n_in: int) -> Params:
    """Returns params of two independent critics, by name.

    Not stacked on a leading axis: a CPU would transpose or copy every kernel before a product,
    which takes a quarter of an update's time.
    """
    keys = jax.random.split(key, len(CRITICS))
    return {name: init_network(k, network, n_in) for name, k in zip(CRITICS, keys, strict=True)}


def init_network(key: PRNGKeyArray, network: MLP, n_in: int) -> Params:
    """Returns the params of one network."""
    return network.init(key, jnp.zeros(n_in))["params"]


def apply_network(
    network: MLP, params: Params, inputs: Float[Array, "*batch n_in"]
) -> tuple[Array, ...]:
    """Returns the network's outputs, one per head."""
    return cast(tuple[Array, ...], network.apply({"params": params}, inputs))


def q_values(
    network: MLP,
    params: Params,
    observation: Float[Array, "batch n_state"],
    action: Float[Array, "batch n_action"],
) -> Float[Array, "critics batch"]:
    """Returns the value of every critic in `params`."""
    inputs = jnp.concatenate([observation, action], axis=-1)
    return jnp.stack([apply_network(network, one, inputs)[0][..., 0] for one in params.values()])


def action_bounds(spaces: Spaces, like: Array) -> tuple[Array, Array]:
    """Returns the lowest and the highest action, in the shape of `like`."""
    low, high = jnp.array(spaces.action_low), jnp.array(spaces.action_high)
    return jnp.broadcast_to(low, like.shape), jnp.broadcast_to(high, like.shape)


def rescale_action(
    squashed: Float[Array, "*batch n_action"], spaces: Spaces
) -> Float[Array, "*batch n_action"]:
    """Maps (-1, 1) linearly to the bounds of the action."""
    low, high = action_bounds(spaces, squashed)
    return (high + low) / 2 + (high - low) / 2 * squashed
