"""Multi-layer perceptrons of actor and critics, and which of their layers are sparse."""

from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrl_jax.agents.config import TD3Config
from dsrl_jax.sparse import erdos_renyi_density
from dsrl_jax.sparse.masks import Params

CRITICS = ("critic_1", "critic_2")
FIRST_CRITIC = CRITICS[0]  # the one that the actor's loss uses


def uniform_fan_in(n_in: int) -> Callable[..., Array]:
    """Initializer U(-1/sqrt(n_in), 1/sqrt(n_in)) with the dense n_in, kernels and biases alike."""
    bound = n_in**-0.5

    def initialize(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


class MLP(nn.Module):
    """ReLU layers `hidden_0`, `hidden_1`, … and a linear layer `output`."""

    hidden_sizes: tuple[int, ...]
    output_size: int

    @nn.compact
    def __call__(self, x: Float[Array, "*batch n_in"]) -> Float[Array, "*batch n_out"]:
        names = [f"hidden_{index}" for index in range(len(self.hidden_sizes))] + ["output"]
        for name, size in zip(names, (*self.hidden_sizes, self.output_size), strict=True):
            initialize = uniform_fan_in(x.shape[-1])
            x = nn.Dense(size, kernel_init=initialize, bias_init=initialize, name=name)(x)
            if name != "output":
                x = nn.relu(x)
        return x


def init_critics(key: Array, network: MLP, n_in: int) -> Params:
    """Params of two independent critics, by name.

    Not stacked on a leading axis: a CPU then transposes or copies every kernel before a product,
    which took a quarter of an update's time.
    """
    keys = jax.random.split(key, len(CRITICS))
    return {name: init_network(k, network, n_in) for name, k in zip(CRITICS, keys, strict=True)}


def init_network(key: Array, network: MLP, n_in: int) -> Params:
    """Params of one network, in its own nested dictionary."""
    return network.init(key, jnp.zeros(n_in))["params"]


def apply_network(network: MLP, params: Params, inputs: Float[Array, "*batch n_in"]) -> Array:
    """The network's output for its params."""
    return cast(Array, network.apply({"params": params}, inputs))


def is_hidden_kernel(path: str, shape: tuple[int, ...]) -> bool:
    """The sparse layers: all but the output layer, and no biases (paper, Section 4.4)."""
    del shape
    layer, leaf = path.split("/")[-2:]
    return layer.startswith("hidden") and leaf == "kernel"


def no_leaf(path: str, shape: tuple[int, ...]) -> bool:
    """The sparse layers of a dense network."""
    del path, shape
    return False


def is_any_kernel(path: str, shape: tuple[int, ...]) -> bool:
    """What counts as a weight: every kernel, dense ones included (paper, eq. 10)."""
    del shape
    return path.endswith("kernel")


def hidden_density(config: TD3Config, path: str, shape: tuple[int, ...]) -> float | Array:
    """Density of a hidden layer: λ1 for the first one, λ2 for the others (eq. 1)."""
    lam = config.lambda1 if "hidden_0/" in path else config.lambda2
    n_in, n_out = shape
    return erdos_renyi_density(n_in, n_out, lam)
