"""SAC, Static-SAC and DS-SAC as one agent; `update` reads as Algorithm 4 (Sokar et al. 2022).

Dense SAC is the same code without sparse layers.
"""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrl_jax import sparse
from dsrl_jax.agents.layers import CRITICS
from dsrl_jax.agents.networks import (
    MLP,
    action_bounds,
    apply_network,
    q_values,
    rescale_action,
    xavier_uniform,
)
from dsrl_jax.agents.sparse_training import (
    adaptation_due,
    init_nets,
    make_optimizer,
    make_sparsity,
)
from dsrl_jax.agents.types import Agent, Metrics, Spaces, Transition
from dsrl_jax.config.agents import SACConfig
from dsrl_jax.sparse import SparseNet, Target, average_target
from dsrl_jax.sparse.leaves import Params

# Bounds of the logarithm of the policy's deviation, and the floor that keeps the logarithm of the
# change of volume finite: as in the implementation that Section 4.4 names.
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
LOG_FLOOR = 1e-6


class Temperature(NamedTuple):
    """log α, and the state of its optimizer."""

    log: Float[Array, ""]
    opt_state: optax.OptState


class SACState(NamedTuple):
    """The state of training. Both critics are one net and share one optimizer."""

    actor: SparseNet
    critic: SparseNet
    target_critic: Target
    temperature: Temperature


def make_agent(spaces: Spaces) -> Agent:
    """Returns the agent for an environment's spaces; its functions take the config as argument."""
    return Agent(
        init=partial(init, spaces),
        explore=partial(explore, spaces),
        act=partial(act, spaces),
        update=partial(update, spaces),
        metrics=("critic_loss", "q_mean", "actor_loss", "entropy", "temperature"),
    )


def init(spaces: Spaces, key: PRNGKeyArray, config: SACConfig) -> SACState:
    """Draws sparse actor and critics, and equal targets (Algorithm 4, lines 1 to 4)."""
    networks = actor_network(spaces, config), critic_network(config)
    actor, critic = init_nets(key, spaces, config, *networks)
    log_temperature = jnp.log(jnp.asarray(config.temperature, jnp.result_type(float)))
    temperature = Temperature(log_temperature, _temperature_optimizer(config).init(log_temperature))
    # Algorithm 4, line 4
    target_critic = sparse.init_target(critic, make_sparsity(config, "critic"))
    return SACState(actor, critic, target_critic, temperature)


def explore(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: SACConfig,
    state: SACState,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """Samples a ~ π(· | s)."""
    # Algorithm 4, line 8
    return sample(key, state.actor.params, spaces, config, observation)[0]


def act(
    spaces: Spaces,
    config: SACConfig,
    state: SACState,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """Returns the deterministic action, tanh of the mean, in the environment's units."""
    mean, _ = policy(state.actor.params, spaces, config, observation)
    return rescale_action(jnp.tanh(mean), spaces)


def update(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: SACConfig,
    state: SACState,
    batch: Transition,
    step: Int[Array, ""],
) -> tuple[SACState, Metrics]:
    """Makes one update: Algorithm 4, lines 13 to 22.

    Args:
      key: the member's key; all random numbers follow from it and `step`.
      step: counts updates from 1; shared by all members, not batched.
    Returns:
      The state, and `critic_loss`, `q_mean`, `actor_loss`, `entropy` (of the policy, estimated on
      the batch, nats) and `temperature`, the α of this update.
    """
    keys = jax.random.split(jax.random.fold_in(key, step), 4)
    key_next, key_action, key_critic, key_actor = keys
    of_critic, of_actor = make_sparsity(config, "critic"), make_sparsity(config, "actor")
    due, grow = adaptation_due(config.sparse, step)
    eta, optimizer = config.sparse.drop_fraction, make_optimizer(config)
    train = partial(sparse.step_and_adapt, due, drop_fraction=eta, optimizer=optimizer, grow=grow)

    target = soft_target(key_next, spaces, config, state, batch)
    (loss, q_mean), gradients = jax.value_and_grad(critic_loss, has_aux=True)(
        state.critic.params, config, target, batch
    )
    # Algorithm 4, lines 13-16
    critic = train(key_critic, state.critic, gradients, sparsity=of_critic)

    alpha = jnp.exp(state.temperature.log)
    (policy_loss, entropy), gradients = jax.value_and_grad(actor_loss, has_aux=True)(
        state.actor.params, key_action, spaces, config, critic.params, alpha, batch
    )
    # Algorithm 4, lines 17-20
    actor = train(key_actor, state.actor, gradients, sparsity=of_actor)
    temperature = _train_temperature(config, state.temperature, entropy, spaces)

    # Algorithm 4, lines 21-22
    target_critic = lax.cond(
        step % config.target_period == 0,
        lambda old: average_target(old, critic, config.tau, of_critic),
        lambda old: old,
        state.target_critic,
    )
    metrics = {"critic_loss": loss, "q_mean": q_mean, "actor_loss": policy_loss}
    metrics |= {"entropy": entropy, "temperature": alpha}
    return SACState(actor, critic, target_critic, temperature), metrics


@jax.named_scope("td_target")
def soft_target(
    key: PRNGKeyArray, spaces: Spaces, config: SACConfig, state: SACState, batch: Transition
) -> Float[Array, " batch"]:
    """Returns y = r + γ (min Q'(s', a') - α log π(a' | s')); a' ~ π(· | s'), the online policy."""
    chex.assert_rank([batch.reward, batch.terminated], 1)
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
    """Returns J_Q, the sum of both critics' mean squared errors, and the mean of their values."""
    q = q_values(critic_network(config), params, batch.observation, batch.action)
    chex.assert_shape(q, (len(CRITICS), *target.shape))
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
    """Returns J_π = mean(α log π(a | s) - min Q(s, a)), a ~ π(· | s), and the policy's entropy."""
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
    """Samples an action, in the environment's units; returns it and its log-density."""
    mean, log_std = policy(params, spaces, config, observation)
    noise = jax.random.normal(key, mean.shape)
    squashed = jnp.tanh(mean + jnp.exp(log_std) * noise)
    return rescale_action(squashed, spaces), log_density(noise, log_std, squashed, spaces)


def log_density(
    noise: Float[Array, "*batch n_action"],
    log_std: Float[Array, "*batch n_action"],
    squashed: Float[Array, "*batch n_action"],
    spaces: Spaces,
) -> Float[Array, " *batch"]:
    """Returns log π(a | s) of a = rescale_action(squashed).

    With squashed = tanh(mean + exp(log_std) noise): the normal density before tanh over the change
    of volume, half range * (1 - squashed²) in each dimension (SAC, Haarnoja et al. 2018, App. C).
    """
    low, high = action_bounds(spaces, squashed)
    normal = -0.5 * (noise**2 + jnp.log(2 * jnp.pi)) - log_std
    volume = jnp.log((high - low) / 2 * (1 - squashed**2) + LOG_FLOOR)
    return (normal - volume).sum(axis=-1)


def policy(
    params: Params, spaces: Spaces, config: SACConfig, observation: Float[Array, "*batch n_state"]
) -> tuple[Float[Array, "*batch n_action"], Float[Array, "*batch n_action"]]:
    """Returns mean and log-deviation of the normal distribution before tanh."""
    mean, log_std = apply_network(actor_network(spaces, config), params, observation)
    return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


def actor_network(spaces: Spaces, config: SACConfig) -> MLP:
    """Returns the policy's network, with two heads."""
    return MLP(config.hidden_sizes, spaces.action_size, config.ACTOR_HEADS, xavier_uniform)


def critic_network(config: SACConfig) -> MLP:
    """Returns the network of one critic."""
    return MLP(config.hidden_sizes, 1, initializers=xavier_uniform)


def _train_temperature(
    config: SACConfig, temperature: Temperature, entropy: Float[Array, ""], spaces: Spaces
) -> Temperature:
    """Makes one step on log α * (entropy - target entropy), if α is learned."""
    if not config.learn_temperature:
        return temperature
    target = -spaces.action_size if config.target_entropy is None else config.target_entropy
    updates, opt_state = _temperature_optimizer(config).update(
        entropy - target, temperature.opt_state
    )
    return Temperature(optax.apply_updates(temperature.log, updates), opt_state)


def _temperature_optimizer(config: SACConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)
