"""Builds the sparse networks, optimizer and adaptation schedule that all agents use."""

from functools import partial
from typing import Literal

import jax
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from dsrl_jax import sparse
from dsrl_jax.agents.layers import CRITICS, is_sparse_layer, network_layers
from dsrl_jax.agents.networks import MLP, init_critics, init_network
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.sparsity import SparseConfig, network_topology
from dsrl_jax.sparse import SparseNet, Sparsity

Network = Literal["actor", "critic"]

# Rules by topology; those of "dynamic" are chosen by its settings instead.
_RULES = {
    "dense": sparse.STATIC,
    "static": sparse.STATIC,
    "set": sparse.SET,
    "rigl": sparse.RIGL,
    "snfs": sparse.SNFS,
}


def make_sparsity(config: AgentConfig, network: Network) -> Sparsity:
    """Returns how the actor or both critics are sparse: which kernels, by which rules."""
    settings = config.sparse

    def is_sparse(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
        layer, name = path.split("/")[-2:]
        return name == "kernel" and is_sparse_layer(settings, network, layer)

    dynamic = sparse.Rules(settings.drop_rule, settings.grow_rule, settings.grown_weight)
    return Sparsity(
        layout=sparse.Layout(is_sparse),
        rules=_RULES.get(network_topology(settings, network), dynamic),
        moments=settings.moments,
        target_ties=settings.target_ties,
        exact_count=settings.connection_count == "exact",
    )


def is_any_kernel(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
    """Returns whether a leaf counts as weights: every kernel, dense ones too (paper, eq. 10)."""
    return path.endswith("kernel")


def make_optimizer(config: AgentConfig) -> optax.GradientTransformation:
    """Returns Adam with L2 added to the gradient; not AdamW."""
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate)
    )


def init_nets(
    key: PRNGKeyArray, spaces: Spaces, config: AgentConfig, actor: MLP, critic: MLP
) -> tuple[SparseNet, SparseNet]:
    """Draws a sparse actor, and both critics as one net (Algorithms 1 and 4, lines 1 to 3)."""
    key_actor, key_critic, key_actor_mask, key_critic_mask = jax.random.split(key, 4)
    init = partial(sparse.init_net, optimizer=make_optimizer(config))
    n_state, n_action = spaces.observation_size, spaces.action_size
    densities = _densities_by_path(spaces, config)

    def density(prefix: str, path: str, shape: tuple[int, ...]) -> float | Array:
        return densities[prefix + path.removesuffix("/kernel")]

    # Algorithm 1, line 1; Algorithm 4, line 1
    actor_params = init_network(key_actor, actor, n_state)
    critic_params = init_critics(key_critic, critic, n_state + n_action)
    return (
        init(
            key_actor_mask,
            actor_params,
            density=partial(density, "actor/"),
            sparsity=make_sparsity(config, "actor"),
        ),
        init(
            key_critic_mask,
            critic_params,
            density=partial(density, ""),
            sparsity=make_sparsity(config, "critic"),
        ),
    )


def adaptation_due(
    settings: SparseConfig, step: int | Int[Array, ""]
) -> tuple[bool | Bool[Array, ""], bool | Bool[Array, ""]]:
    """Returns whether update `step` adapts, and whether it grows what it drops.

    The first adaptation after `last_adaptation` only drops, and is the last one (authors' code).

    Args:
      step: counts updates from 1.
    """
    period, last = settings.adaptation_period, settings.last_adaptation
    # Algorithm 1, line 14; Algorithm 1, line 20; Algorithm 4, line 14; Algorithm 4, line 18
    due = step % period == settings.adaptation_offset
    if not last:
        return due, True
    return due & (step - period <= last), step <= last


def _densities_by_path(spaces: Spaces, config: AgentConfig) -> dict[str, float | Array]:
    """Returns the density of `actor/hidden_0`, …, `critic_2/output`."""
    networks = network_layers(spaces, config)
    return {
        f"{name}/{layer.name}": layer.density
        for name in ("actor", *CRITICS)
        for layer in networks[name]
    }
