"""What an agent's networks cost, in plain Python numbers: layers, connections, training FLOPs."""

from typing import NamedTuple

from dsrl_jax.agents.config import TD3Config
from dsrl_jax.agents.types import Spaces
from dsrl_jax.sparse import (
    Layer,
    count_weights,
    erdos_renyi_density,
    expected_connections,
    training_flops,
)


class Cost(NamedTuple):
    """Of the actor and both critics; without biases and targets (paper, Section 4.3)."""

    dense_weights: int
    connections: float
    sparsity: float  # share of the dense weights that is absent
    training_flops: float
    ratio_to_dense: float  # of training FLOPs


def network_layers(spaces: Spaces, config: TD3Config) -> dict[str, list[Layer]]:
    """The layers of the actor and of each critic, with their densities."""
    n_state, n_action = spaces.observation_size, spaces.action_size
    actor = _layers((n_state, *config.hidden_sizes, n_action), config)
    critic = _layers((n_state + n_action, *config.hidden_sizes, 1), config)
    return {"actor": actor, "critic 1": critic, "critic 2": critic}


def expected_cost(spaces: Spaces, config: TD3Config, updates: float) -> Cost:
    """The cost by the expected connections of the first masks."""
    actor, critic, _ = network_layers(spaces, config).values()
    return actual_cost(
        spaces, config, updates, expected_connections(actor), 2 * expected_connections(critic)
    )


def actual_cost(
    spaces: Spaces,
    config: TD3Config,
    updates: float,
    actor_connections: float,
    critic_connections: float,
) -> Cost:
    """The cost by counted connections; `critic_connections` of both critics together.

    Args:
      updates: the paper counts one for each environment step, its random steps included; the
        real number is smaller by those.
    """
    actor, critic, _ = network_layers(spaces, config).values()
    dense_actor, dense_critics = count_weights(actor), 2 * count_weights(critic)

    connections = actor_connections + critic_connections
    return Cost(
        dense_weights=dense_actor + dense_critics,
        connections=connections,
        sparsity=1 - connections / (dense_actor + dense_critics),
        training_flops=updates * _per_update(critic_connections, actor_connections, config),
        ratio_to_dense=_per_update(critic_connections, actor_connections, config)
        / _per_update(dense_critics, dense_actor, config),
    )


def _layers(sizes: tuple[int, ...], config: TD3Config) -> list[Layer]:
    layers = []
    for index, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        hidden = index < len(sizes) - 2
        lam = config.lambda1 if index == 0 else config.lambda2
        sparse = hidden and config.topology != "dense"
        density = float(erdos_renyi_density(n_in, n_out, lam)) if sparse else 1.0
        layers.append(Layer(f"hidden_{index}" if hidden else "output", n_in, n_out, density))
    return layers


def _per_update(critics: float, actor: float, config: TD3Config) -> float:
    return training_flops(
        critics,
        actor,
        batch_size=config.batch_size,
        updates=1,
        policy_delay=config.policy_delay,
    )
