"""What an agent's networks cost, in plain Python numbers: connections, FLOPs, bytes."""

from typing import NamedTuple

from dsrl_jax.agents.config import AgentConfig
from dsrl_jax.agents.densities import CRITICS, network_layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.sparse import count_weights, expected_connections, training_flops


class Cost(NamedTuple):
    """Of the actor and both critics; without biases and targets (paper, Section 4.3)."""

    dense_weights: int
    connections: float
    sparsity: float  # share of the dense weights that is absent
    training_flops: float
    ratio_to_dense: float  # of training FLOPs


def expected_cost(spaces: Spaces, config: AgentConfig, updates: float) -> Cost:
    """The cost by the expected connections of the first masks."""
    layers = network_layers(spaces, config)
    critics = sum(expected_connections(layers[name]) for name in CRITICS)
    return actual_cost(spaces, config, updates, expected_connections(layers["actor"]), critics)


def actual_cost(
    spaces: Spaces,
    config: AgentConfig,
    updates: float,
    actor_connections: float,
    critic_connections: float,
) -> Cost:
    """The cost by counted connections; `critic_connections` of both critics together.

    Args:
      updates: the paper counts one for each environment step, its random steps included; the
        real number is smaller by those.
    """
    layers = network_layers(spaces, config)
    dense_actor = count_weights(layers["actor"])
    dense_critics = sum(count_weights(layers[name]) for name in CRITICS)

    connections = actor_connections + critic_connections
    return Cost(
        dense_weights=dense_actor + dense_critics,
        connections=connections,
        sparsity=1 - connections / (dense_actor + dense_critics),
        training_flops=updates * _per_update(critic_connections, actor_connections, config),
        ratio_to_dense=_per_update(critic_connections, actor_connections, config)
        / _per_update(dense_critics, dense_actor, config),
    )


def _per_update(critics: float, actor: float, config: AgentConfig) -> float:
    return training_flops(
        critics,
        actor,
        batch_size=config.batch_size,
        updates=1,
        policy_delay=config.policy_delay,
    )
