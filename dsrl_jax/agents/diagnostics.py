"""Measures the topology of actor and critics at one moment: for logs, not for training."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dsrl_jax.agents.layers import CRITICS
from dsrl_jax.agents.networks import MLP
from dsrl_jax.agents.types import Spaces, State, Transition
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.sparse import count_true
from dsrl_jax.sparse.leaves import Masks, Params


class LayerTopology(NamedTuple):
    """One kernel's connections and the units that it feeds; integers are int32.

    A hidden unit is dormant if all its input weights are 0, or if it is 0 for every sample of a
    batch; heads have no dormant units.
    """

    connections: Int[Array, ""]
    churn: Float[Array, ""]  # share of the connections that earlier masks lacked
    overlap: Float[Array, ""]  # share of the connections that the first masks had
    units: Int[Array, ""]
    units_without_input: Int[Array, ""]
    units_inactive: Int[Array, ""]
    dormant_units: Int[Array, ""]  # either
    input_degrees: Int[Array, " n_in"]  # connections of each input of the layer


def all_masks(state: State) -> dict[str, Masks]:
    """Returns the masks of `actor`, `critic_1` and `critic_2`."""
    return {"actor": state.actor.masks} | {name: state.critic.masks[name] for name in CRITICS}


def inspect(
    spaces: Spaces,
    config: AgentConfig,
    state: State,
    first: dict[str, Masks],
    earlier: dict[str, Masks],
    batch: Transition,
) -> dict[str, dict[str, LayerTopology]]:
    """Returns the topology of every layer of every network, by name.

    Args:
      first, earlier: `all_masks` of the first state, and of the state to compare with.
      batch: the inputs on which activations are measured.
    """
    both = jnp.concatenate([batch.observation, batch.action], axis=-1)
    actor = MLP(config.hidden_sizes, spaces.action_size, config.ACTOR_HEADS)
    critic = MLP(config.hidden_sizes, 1)
    networks: dict[str, tuple[MLP, Params, Array]] = {
        "actor": (actor, state.actor.params, batch.observation)
    } | {name: (critic, state.critic.params[name], both) for name in CRITICS}
    masks = all_masks(state)
    return {
        name: _inspect_network(*network, masks[name], first[name], earlier[name])
        for name, network in networks.items()
    }


def _inspect_network(
    network: MLP, params: Params, inputs: Array, masks: Masks, first: Masks, earlier: Masks
) -> dict[str, LayerTopology]:
    _, captured = network.apply(
        {"params": params},
        inputs,
        capture_intermediates=lambda module, _: isinstance(module, nn.Dense),
    )
    sums: Any = captured["intermediates"]
    return {
        name: _inspect_layer(
            params[name]["kernel"],
            masks[name]["kernel"],
            first[name]["kernel"],
            earlier[name]["kernel"],
            sums[name]["__call__"][0] if name.startswith("hidden") else None,
        )
        for name in params
    }


def _inspect_layer(
    kernel: Float[Array, "n_in n_out"],
    mask: Bool[Array, "n_in n_out"],
    first: Bool[Array, "n_in n_out"],
    earlier: Bool[Array, "n_in n_out"],
    sums: Float[Array, "batch n_out"] | None,
) -> LayerTopology:
    """`sums`: the inputs of ReLU; None for a head."""
    connections = count_true(mask)
    some = jnp.maximum(connections, 1)
    unfed = ~(kernel != 0).any(axis=0)
    silent = jnp.zeros_like(unfed) if sums is None else (sums <= 0).all(axis=0)
    return LayerTopology(
        connections=connections,
        churn=count_true(mask & ~earlier) / some,
        overlap=count_true(mask & first) / some,
        units=jnp.int32(kernel.shape[1]),
        units_without_input=unfed.sum(),
        units_inactive=silent.sum(),
        dormant_units=jnp.zeros_like(connections) if sums is None else (unfed | silent).sum(),
        input_degrees=mask.sum(axis=1),
    )
