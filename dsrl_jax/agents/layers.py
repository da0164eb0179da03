"""Which layers of actor and critics are sparse, and how dense each one is.

Layers have the names that `networks.py` gives them. Numbers are plain Python numbers unless a
setting is traced.
"""

from typing import Any

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.sparsity import SparseConfig, network_topology
from dsrl_jax.sparse import (
    Layer,
    erdos_renyi_density,
    fewest_connections,
    share_connections,
)

CRITICS = ("critic_1", "critic_2")

Shapes = dict[str, dict[str, tuple[int, int]]]  # by network and layer: n_in, n_out


def layer_shapes(spaces: Spaces, config: AgentConfig) -> Shapes:
    """Returns the kernels' shapes of `actor`, `critic_1` and `critic_2`."""
    n_state, n_action = spaces.observation_size, spaces.action_size
    heads = dict.fromkeys(config.ACTOR_HEADS, n_action)
    actor = _mlp_shapes(n_state, config.hidden_sizes, heads)
    critic = _mlp_shapes(n_state + n_action, config.hidden_sizes, {"output": 1})
    return {"actor": actor} | {name: critic for name in CRITICS}


def network_layers(spaces: Spaces, config: AgentConfig) -> dict[str, list[Layer]]:
    """Returns the layers of each network, with their densities (eq. 1, or by a sparsity)."""
    shapes = layer_shapes(spaces, config)
    densities = {
        network: {
            name: _lambda_density(config.sparse, network, name, *shape)
            for name, shape in own.items()
        }
        for network, own in shapes.items()
    }
    for _, sparsity, networks in sparsity_groups(config.sparse):
        kernels = _sparse_shapes(shapes, config.sparse, networks)
        total = (1 - sparsity) * _weights(shapes, networks) - _dense(shapes, config, networks)
        shares = share_connections(list(kernels.values()), total, config.sparse.distribution)
        for (network, name), share in zip(kernels, shares, strict=True):
            densities[network][name] = share
    return {
        network: [Layer(name, *shape, densities[network][name]) for name, shape in own.items()]
        for network, own in shapes.items()
    }


def check_sparsity(spaces: Spaces, config: AgentConfig) -> None:
    """Checks that the requested sparsities can be met; values must not be traced.

    Raises:
      ValueError: names the largest possible one, with which dense layers stay dense and every
        sparse layer expects at least one connection.
    """
    shapes, sparse = layer_shapes(spaces, config), config.sparse
    named = {"actor": "a dense actor", "critics": "dense critics"}
    dense = [text for name, text in named.items() if network_topology(sparse, name) == "dense"]
    if len(dense) < 2 and not _sparse_shapes(shapes, sparse, tuple(shapes)):
        raise ValueError(
            f"sparse_layers {','.join(sparse.sparse_layers)} names no layer of networks with "
            f"hidden_sizes {','.join(map(str, config.hidden_sizes))}"
        )
    for name, sparsity, networks in sparsity_groups(sparse):
        kernels = _sparse_shapes(shapes, sparse, networks)
        fewest = fewest_connections(list(kernels.values()), sparse.distribution)
        needed = _dense(shapes, config, networks) + fewest
        largest = 1 - needed / _weights(shapes, networks)
        if sparsity > largest:
            others = f" and {dense[0]}" if name == "sparsity" and dense else ""
            raise ValueError(
                f"{name} must be at most {int(largest * 1e4) / 1e4} with sparse_layers "
                f"{','.join(sparse.sparse_layers)}{others}, got {sparsity}"
            )


def layer_group(name: str) -> str:
    """Returns the name by which the setting `sparse_layers` selects a layer."""
    if not name.startswith("hidden"):
        return "output"
    return "input" if name == "hidden_0" else "hidden"


def is_sparse_layer(sparse: SparseConfig, network: str, name: str) -> bool:
    """Returns whether a network's layer is sparse; a dense network has none."""
    return network_topology(sparse, network) != "dense" and (
        layer_group(name) in sparse.sparse_layers
    )


SPARSITIES = {
    "sparsity": ("actor", *CRITICS),
    "actor_sparsity": ("actor",),
    "critic_sparsity": CRITICS,
}


def sparsity_groups(sparse: SparseConfig) -> list[tuple[str, Any, tuple[str, ...]]]:
    """Returns the name and value of each requested sparsity, and the networks that it counts.

    Dense networks among these count too; if all are dense, the sparsity has no effect.
    """
    return [
        (name, getattr(sparse, name), networks)
        for name, networks in SPARSITIES.items()
        if getattr(sparse, name) is not None
        and any(network_topology(sparse, network) != "dense" for network in networks)
    ]


def _lambda_density(sparse: SparseConfig, network: str, name: str, n_in: int, n_out: int) -> Any:
    """Returns a layer's density: by λ1 for the first hidden layer, by λ2 for the others (eq. 1)."""
    if not is_sparse_layer(sparse, network, name):
        return 1.0
    lam = sparse.lambda1 if layer_group(name) == "input" else sparse.lambda2
    return erdos_renyi_density(n_in, n_out, lam)


def _mlp_shapes(
    n_in: int, hidden_sizes: tuple[int, ...], heads: dict[str, int]
) -> dict[str, tuple[int, int]]:
    sizes = (n_in, *hidden_sizes)
    shapes = {f"hidden_{i}": (sizes[i], size) for i, size in enumerate(hidden_sizes)}
    return shapes | {name: (sizes[-1], size) for name, size in heads.items()}


def _sparse_shapes(
    shapes: Shapes, sparse: SparseConfig, networks: tuple[str, ...]
) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (network, name): shape
        for network in networks
        for name, shape in shapes[network].items()
        if is_sparse_layer(sparse, network, name)
    }


def _weights(shapes: Shapes, networks: tuple[str, ...]) -> int:
    return sum(n_in * n_out for network in networks for n_in, n_out in shapes[network].values())


def _dense(shapes: Shapes, config: AgentConfig, networks: tuple[str, ...]) -> int:
    """Counts the weights of layers that stay dense."""
    kernels = _sparse_shapes(shapes, config.sparse, networks).values()
    return _weights(shapes, networks) - sum(n_in * n_out for n_in, n_out in kernels)
