"""Counts the connections and FLOPs of an agent's networks, in plain Python numbers."""

from typing import NamedTuple

from dsrl_jax.agents.layers import CRITICS, network_layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.sparsity import network_topology
from dsrl_jax.sparse import count_weights, expected_connections, training_flops


class Cost(NamedTuple):
    """The cost of actor and both critics, without biases and targets (paper, Section 4.3).

    Dense moments do not count as dense gradients, as in the paper, unless connections grow by them.
    """

    dense_weights: int
    connections: float
    sparsity: float  # share of the dense weights that is absent
    training_flops: float
    ratio_to_dense: float  # of training FLOPs


def expected_cost(spaces: Spaces, config: AgentConfig, updates: float) -> Cost:
    """Returns the cost by the expected connections of the first masks."""
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
    """Returns the cost by counted connections.

    Args:
      updates: the paper counts one per environment step, including the random steps, during which
        there are none.
      critic_connections: of both critics together.
    """
    layers = network_layers(spaces, config)
    dense_actor = count_weights(layers["actor"])
    dense_critics = sum(count_weights(layers[name]) for name in CRITICS)

    per_update = _per_update(critic_connections, actor_connections, config) + _growth(
        dense_critics - critic_connections, dense_actor - actor_connections, config
    )
    connections = actor_connections + critic_connections
    return Cost(
        dense_weights=dense_actor + dense_critics,
        connections=connections,
        sparsity=1 - connections / (dense_actor + dense_critics),
        training_flops=updates * per_update,
        ratio_to_dense=per_update / _per_update(dense_critics, dense_actor, config),
    )


def _growth(absent_in_critics: float, absent_in_actor: float, config: AgentConfig) -> float:
    """Returns the FLOPs per update of gradients of absent weights, if connections grow by them.

    2 per weight, sample and dense gradient: one gradient per adaptation for RigL, one per training
    step for SNFS, as Evci et al. 2020 count both.
    """
    sparse, delay = config.sparse, config.policy_delay

    def share(network: str, period: int) -> float:
        shares = {"rigl": 1 / sparse.adaptation_period, "snfs": 1 / period}
        return shares.get(network_topology(sparse, network), 0.0)

    gradients = absent_in_critics * share("critics", 1) + absent_in_actor * share("actor", delay)
    return 2 * gradients * config.batch_size


def _per_update(critics: float, actor: float, config: AgentConfig) -> float:
    return training_flops(
        critics,
        actor,
        batch_size=config.batch_size,
        updates=1,
        policy_delay=config.policy_delay,
    )
