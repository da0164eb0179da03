"""SAC, Static-SAC and DS-SAC as one agent; `update` reads as Algorithm 4 (Sokar et al. 2022).

Dense SAC is no other code: it has no layer that is sparse, and nothing to adapt.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrl_jax import sparse
from dsrl_jax.agents.networks import (
    MLP,
    action_bounds,
    apply_network,
    q_values,
    stretch,
    xavier_uniform,
)
from dsrl_jax.agents.sparse_training import find_adaptation, init_nets, make_sparsity, train_net
from dsrl_jax.agents.types import Adaptation, Agent, Metrics, Spaces, Transition
from dsrl_jax.config.agents import SACConfig
from dsrl_jax.sparse import SparseNet, Target
from dsrl_jax.sparse.masks import Params

# Of the policy's deviation before tanh, and what keeps the logarithm of its correction finite:
# the implementation that Section 4.4 names.
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
LOG_FLOOR = 1e-6


class Temperature(NamedTuple):
    """α as its logarithm, and the optimizer that learns it, if it is learned."""

    log: Float[Array, ""]
    opt_state: optax.OptState


class SACState(NamedTuple):
    """Everything that training changes. Both critics are one net and share one optimizer."""

    actor: SparseNet
    critic: SparseNet
    target_critic: Target
    temperature: Temperature


def make_agent(spaces: Spaces) -> Agent:
    """The agent for an environment's spaces; its functions take the config each time."""
    return Agent(
        init=partial(init, spaces),
        explore=partial(explore, spaces),
        act=partial(act, spaces),
        update=partial(update, spaces),
        find_adaptation=find_adaptation,
        metrics=("critic_loss", "q_mean", "actor_loss", "entropy", "temperature"),
    )


def init(spaces: Spaces, key: PRNGKeyArray, config: SACConfig) -> SACState:
    """Sparse actor and critics, and targets equal to the critics (Algorithm 4, lines 1 to 4)."""
    networks = actor_network(spaces, config), critic_network(config)
    actor, critic = init_nets(key, spaces, config, *networks)
    log_temperature = jnp.log(jnp.asarray(config.temperature, jnp.result_type(float)))
    temperature = Temperature(log_temperature, _temperature_optimizer(config).init(log_temperature))
    target_critic = sparse.init_target(critic, make_sparsity(config, "critic"))
    return SACState(actor, critic, target_critic, temperature)


def explore(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: SACConfig,
    state: SACState,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """a ~ π(· | s) (line 8)."""
    return sample(key, state.actor.params, spaces, config, observation)[0]


def act(
    spaces: Spaces,
    config: SACConfig,
    state: SACState,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """The policy without its noise: tanh of the mean, in the environment's units."""
    mean, _ = policy(state.actor.params, spaces, config, observation)
    return stretch(jnp.tanh(mean), spaces)


def update(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: SACConfig,
    state: SACState,
    batch: Transition,
    step: Int[Array, ""],
    adaptation: Adaptation | None = None,
) -> tuple[SACState, Metrics]:
    """One update: Algorithm 4, lines 13 to 22.

    Args:
      key: the member's key; what is drawn follows from it and `step` alone.
      step: counts updates from 1; shared by all members, not batched.
      adaptation: what `find_adaptation` says of the step; given as Python's booleans it leaves no
        branch.
    Returns:
      The state, and `critic_loss`, `q_mean`, `actor_loss`, `entropy` (of the policy, estimated on
      the batch, nats) and `temperature`, the α of this update.
    """
    adaptation = find_adaptation(config, step) if adaptation is None else adaptation
    keys = jax.random.split(jax.random.fold_in(key, step), 4)
    key_next, key_action, key_critic, key_actor = keys

    target = soft_target(key_next, spaces, config, state, batch)
    (loss, q_mean), gradients = jax.value_and_grad(critic_loss, has_aux=True)(
        state.critic.params, config, target, batch
    )
    critic = train_net(  # lines 13 to 16
        key_critic, config, "critic", state.critic, gradients, adaptation
    )

    alpha = jnp.exp(state.temperature.log)
    (policy_loss, entropy), gradients = jax.value_and_grad(actor_loss, has_aux=True)(
        state.actor.params, key_action, spaces, config, critic.params, alpha, batch
    )
    actor = train_net(  # lines 17 to 20
        key_actor, config, "actor", state.actor, gradients, adaptation
    )
    temperature = _train_temperature(config, state.temperature, entropy, spaces)

    is_due = step % config.target_period == 0
    target_critic = sparse.average_target(  # lines 21, 22
        is_due, state.target_critic, critic, config.tau, make_sparsity(config, "critic")
    )
    metrics = {
        "critic_loss": loss,
        "q_mean": q_mean,
        "actor_loss": policy_loss,
        "entropy": entropy,
        "temperature": alpha,
    }
    return SACState(actor, critic, target_critic, temperature), metrics


@jax.named_scope("td_target")
def soft_target(
    key: PRNGKeyArray, spaces: Spaces, config: SACConfig, state: SACState, batch: Transition
) -> Float[Array, " batch"]:
    """y = r + γ (min Q'(s', a') - α log π(a' | s')) with a' ~ π(· | s'), the online policy."""
    action, log_probability = sample(
        key, state.actor.params, spaces, config, batch.next_observation
    )
    next_q = q_values(
        critic_network(config), state.target_critic.params, batch.next_observation, action
    )
    soft_q = next_q.min(axis=0) - jnp.exp(state.temperature.log) * log_probability
    return batch.reward + config.discount * (1 - batch.terminated) * soft_q


@jax.named_scope("critic_loss")
def critic_loss(
    params: Params, config: SACConfig, target: Float[Array, " batch"], batch: Transition
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """J_Q: sum over both critics of the mean squared error; and the mean of their values."""
    q = q_values(critic_network(config), params, batch.observation, batch.action)
    return jnp.mean((q - target[None]) ** 2, axis=1).sum(), q.mean()


@jax.named_scope("actor_loss")
def actor_loss(
    params: Params,
    key: PRNGKeyArray,
    spaces: Spaces,
    config: SACConfig,
    critic: Params,
    alpha: Float[Array, ""],
    batch: Transition,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """J_π = mean(α log π(a | s) - min Q(s, a)) with a ~ π(· | s); and the policy's entropy."""
    action, log_probability = sample(key, params, spaces, config, batch.observation)
    q = q_values(critic_network(config), critic, batch.observation, action).min(axis=0)
    return (alpha * log_probability - q).mean(), -log_probability.mean()


def sample(
    key: PRNGKeyArray,
    params: Params,
    spaces: Spaces,
    config: SACConfig,
    observation: Float[Array, "*batch n_state"],
) -> tuple[Float[Array, "*batch n_action"], Float[Array, " *batch"]]:
    """An action of the policy, in the environment's units, and the logarithm of its density."""
    mean, log_std = policy(params, spaces, config, observation)
    noise = jax.random.normal(key, mean.shape)
    squashed = jnp.tanh(mean + jnp.exp(log_std) * noise)
    return stretch(squashed, spaces), log_density(noise, log_std, squashed, spaces)


def log_density(
    noise: Float[Array, "*batch n_action"],
    log_std: Float[Array, "*batch n_action"],
    squashed: Float[Array, "*batch n_action"],
    spaces: Spaces,
) -> Float[Array, " *batch"]:
    """log π(a | s) of a = stretch(squashed), squashed = tanh(mean + exp(log_std) noise).

    The normal density before tanh, over the change of volume: half range * (1 - squashed²) in each
    dimension (SAC, Haarnoja et al. 2018, Appendix C).
    """
    low, high = action_bounds(spaces, squashed)
    normal = -0.5 * (noise**2 + jnp.log(2 * jnp.pi)) - log_std
    volume = jnp.log((high - low) / 2 * (1 - squashed**2) + LOG_FLOOR)
    return (normal - volume).sum(axis=-1)


def policy(
    params: Params, spaces: Spaces, config: SACConfig, observation: Float[Array, "*batch n_state"]
) -> tuple[Float[Array, "*batch n_action"], Float[Array, "*batch n_action"]]:
    """Mean and logarithm of the deviation of the normal distribution before tanh."""
    mean, log_std = apply_network(actor_network(spaces, config), params, observation)
    return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


def actor_network(spaces: Spaces, config: SACConfig) -> MLP:
    """The policy's network, with two heads."""
    return MLP(config.hidden_sizes, spaces.action_size, config.ACTOR_HEADS, xavier_uniform)


def critic_network(config: SACConfig) -> MLP:
    """One critic."""
    return MLP(config.hidden_sizes, 1, initializers=xavier_uniform)


def _train_temperature(
    config: SACConfig, temperature: Temperature, entropy: Float[Array, ""], spaces: Spaces
) -> Temperature:
    """One step on log α * (entropy - target entropy), where α is learned."""
    if not config.learn_temperature:
        return temperature
    target = -spaces.action_size if config.target_entropy is None else config.target_entropy
    updates, opt_state = _temperature_optimizer(config).update(
        entropy - target, temperature.opt_state
    )
    return Temperature(optax.apply_updates(temperature.log, updates), opt_state)


def _temperature_optimizer(config: SACConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)
