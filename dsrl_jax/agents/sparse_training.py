"""What the agents' updates have in common: how their nets are sparse, stepped and adapted."""

from functools import partial
from typing import Literal, get_args

import jax
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from dsrl_jax import sparse
from dsrl_jax.agents.layers import CRITICS, is_sparse_layer, network_layers
from dsrl_jax.agents.networks import MLP, init_critics, init_network
from dsrl_jax.agents.types import Adaptation, Spaces
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.sparsity import adapts, network_topology
from dsrl_jax.sparse import SparseNet, Sparsity
from dsrl_jax.sparse.masks import Params

Network = Literal["actor", "critic"]

# Rules that a topology's name says alone; "dynamic" has its own settings.
_RULES = {"set": sparse.SET, "rigl": sparse.RIGL, "snfs": sparse.SNFS}


def make_sparsity(config: AgentConfig, network: Network) -> Sparsity:
    """How the actor or both critics are sparse: which kernels, by which rules; biases are dense."""
    settings = config.sparse

    def is_sparse(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
        del leaf
        layer, name = path.split("/")[-2:]
        return name == "kernel" and is_sparse_layer(settings, network, layer)

    own = sparse.Rules(settings.drop_rule, settings.grow_rule, settings.grown_weight)
    return Sparsity(
        layout=sparse.Layout(is_sparse),
        rules=_RULES.get(network_topology(settings, network), own),
        moments=settings.moments,
        target_ties=settings.target_ties,
        exact_count=settings.connection_count == "exact",
    )


def is_any_kernel(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
    """What counts as a weight: every kernel, dense ones included (paper, eq. 10)."""
    del leaf
    return path.endswith("kernel")


def make_optimizer(config: AgentConfig) -> optax.GradientTransformation:
    """Adam with L2 added to the gradient; not AdamW."""
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate)
    )


def init_nets(
    key: PRNGKeyArray, spaces: Spaces, config: AgentConfig, actor: MLP, critic: MLP
) -> tuple[SparseNet, SparseNet]:
    """Sparse actor, and both critics as one net (Algorithm 1 and 4, lines 1 to 3)."""
    key_actor, key_critic, key_actor_mask, key_critic_mask = jax.random.split(key, 4)
    init = partial(sparse.init_net, optimizer=make_optimizer(config))
    n_state, n_action = spaces.observation_size, spaces.action_size
    densities = _densities_by_path(spaces, config)

    def density(prefix: str, path: str, shape: tuple[int, ...]) -> float | Array:
        del shape
        return densities[prefix + path.removesuffix("/kernel")]

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


def train_net(
    key: PRNGKeyArray,
    config: AgentConfig,
    network: Network,
    net: SparseNet,
    gradients: Params,
    adaptation: Adaptation,
) -> SparseNet:
    """An optimizer step, and an adaptation where it is due and the network adapts.

    Args:
      gradients: dense; absent weights are trained by none, but may grow by them.
    """
    sparsity = make_sparsity(config, network)
    by_momentum = sparsity.rules.grow_by == "momentum"
    return sparse.step_and_adapt(
        adaptation.due if adapts(config.sparse, network) else False,
        key,
        net,
        gradients,
        config.sparse.drop_fraction,
        make_optimizer(config),
        sparsity,
        grow=adaptation.grows,
        momentum=_first_moment if by_momentum else None,
    )


def find_adaptation(config: AgentConfig, step: int | Int[Array, ""]) -> Adaptation:
    """Whether the update of this number adapts; updates count from 1."""
    if not any(adapts(config.sparse, network) for network in get_args(Network)):
        return Adaptation(due=False, grows=False)
    period, last = config.sparse.adaptation_period, config.sparse.last_adaptation
    due = step % period == config.sparse.adaptation_offset
    if not last:
        return Adaptation(due, grows=True)
    due &= step - period <= last
    return Adaptation(due, due & (step <= last))


def _first_moment(opt_state: optax.OptState) -> Params:
    """Adam's: SNFS's average of the gradients, as dense as `moments` says (its decay is 0.9)."""
    return optax.tree_utils.tree_get(opt_state, "mu")


def _densities_by_path(spaces: Spaces, config: AgentConfig) -> dict[str, float | Array]:
    """`actor/hidden_0`, …, `critic_2/output`."""
    networks = network_layers(spaces, config)
    return {
        f"{name}/{layer.name}": layer.density
        for name in ("actor", *CRITICS)
        for layer in networks[name]
    }
