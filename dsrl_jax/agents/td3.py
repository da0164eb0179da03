"""TD3, Static-TD3 and DS-TD3 as one agent; `update` reads as Algorithm 1 (Sokar et al. 2022).

Dense TD3 is no other code: it has no layer that is sparse, and nothing to adapt.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax import sparse
from dsrl_jax.agents.config import TD3Config
from dsrl_jax.agents.networks import (
    FIRST_CRITIC,
    MLP,
    apply_network,
    hidden_density,
    init_critics,
    init_network,
    is_hidden_kernel,
    no_leaf,
)
from dsrl_jax.agents.types import Agent, Metrics, Spaces, Transition
from dsrl_jax.sparse import SparseNet, Sparsity
from dsrl_jax.sparse.masks import Params

_FLOATS = [field.name for field in dataclasses.fields(TD3Config) if field.type is float]
jax.tree_util.register_dataclass(
    TD3Config,
    data_fields=_FLOATS,
    meta_fields=[
        field.name for field in dataclasses.fields(TD3Config) if field.name not in _FLOATS
    ],
)


class TD3State(NamedTuple):
    """Everything that training changes. Both critics are one net and share one optimizer."""

    actor: SparseNet
    critic: SparseNet
    target_actor: Params
    target_critic: Params


def make_agent(spaces: Spaces) -> Agent:
    """The agent for an environment's spaces; its functions take the config each time."""
    return Agent(
        init=partial(init, spaces),
        explore=partial(explore, spaces),
        act=partial(act, spaces),
        update=partial(update, spaces),
        metrics=("critic_loss", "q_mean", "actor_loss"),
    )


def init(spaces: Spaces, key: PRNGKeyArray, config: TD3Config) -> TD3State:
    """Sparse actor and critics, and targets equal to them (Algorithm 1, lines 1 to 4)."""
    key_actor, key_critic, key_actor_mask, key_critic_mask = jax.random.split(key, 4)
    optimizer, density = make_optimizer(config), partial(hidden_density, config)
    n_state, n_action = spaces.observation_size, spaces.action_size

    params = init_network(key_actor, actor_network(spaces, config), n_state)
    actor = sparse.init_net(key_actor_mask, params, optimizer, density, make_sparsity(config))
    params = init_critics(key_critic, critic_network(config), n_state + n_action)
    critic = sparse.init_net(key_critic_mask, params, optimizer, density, make_sparsity(config))
    return TD3State(actor, critic, actor.params, critic.params)


def explore(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: TD3Config,
    state: TD3State,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """a ~ π(s) + N(0, σ), clipped to the bounds (lines 7 and 8)."""
    action = act(spaces, config, state, observation)
    noise = config.exploration_noise * jax.random.normal(key, action.shape)
    return _add_noise(action, noise, spaces)


def act(
    spaces: Spaces,
    config: TD3Config,
    state: TD3State,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """The deterministic policy π(s), in the environment's units."""
    return policy(state.actor.params, spaces, config, observation)


def update(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: TD3Config,
    state: TD3State,
    batch: Transition,
    step: Int[Array, ""],
) -> tuple[TD3State, Metrics]:
    """One update: Algorithm 1, lines 11 to 28.

    Args:
      key: the member's key; what is drawn follows from it and `step` alone.
      step: counts updates from 1; shared by all members, not batched.
    Returns:
      The state, and `critic_loss`, `q_mean`, and `actor_loss`: d times the loss at every d-th
      update and 0 at the others, so that its mean over updates is the mean loss.
    """
    key_noise, key_critic, key_actor = jax.random.split(jax.random.fold_in(key, step), 3)
    train = partial(_train_net, config, step)

    target = td_target(key_noise, spaces, config, state, batch)  # lines 11, 12
    (loss, q_mean), gradients = jax.value_and_grad(critic_loss, has_aux=True)(
        state.critic.params, config, target, batch
    )
    critic = train(key_critic, state.critic, gradients)  # lines 13 to 16

    def train_actor() -> tuple[SparseNet, Params, Params, Array]:
        loss, gradients = jax.value_and_grad(actor_loss)(
            state.actor.params, spaces, config, critic.params, batch
        )
        actor = train(key_actor, state.actor, gradients)  # lines 18 to 22
        average = partial(sparse.average_target, tau=config.tau, sparsity=make_sparsity(config))
        target_critic = average(state.target_critic, critic)  # lines 24, 26
        target_actor = average(state.target_actor, actor)  # lines 25, 27
        return actor, target_actor, target_critic, config.policy_delay * loss

    def wait() -> tuple[SparseNet, Params, Params, Array]:
        return state.actor, state.target_actor, state.target_critic, jnp.zeros_like(loss)

    actor, target_actor, target_critic, policy_loss = lax.cond(  # line 17
        step % config.policy_delay == 0, train_actor, wait
    )
    metrics = {"critic_loss": loss, "q_mean": q_mean, "actor_loss": policy_loss}
    return TD3State(actor, critic, target_actor, target_critic), metrics


def td_target(
    key: PRNGKeyArray, spaces: Spaces, config: TD3Config, state: TD3State, batch: Transition
) -> Float[Array, " batch"]:
    """y = r + γ min Q'(s', ã) with a smoothed target action (eq. 3; lines 11 and 12)."""
    action = policy(state.target_actor, spaces, config, batch.next_observation)
    noise = config.target_noise * jax.random.normal(key, action.shape)
    noise = jnp.clip(noise, -config.target_noise_clip, config.target_noise_clip)
    action = _add_noise(action, noise, spaces)
    next_q = q_values(state.target_critic, config, batch.next_observation, action).min(axis=0)
    return batch.reward + config.discount * (1 - batch.terminated) * next_q


def critic_loss(
    params: Params, config: TD3Config, target: Float[Array, " batch"], batch: Transition
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum over both critics of the mean squared error (line 13); and the mean of their values."""
    q = q_values(params, config, batch.observation, batch.action)
    return jnp.mean((q - target[None]) ** 2, axis=1).sum(), q.mean()


def actor_loss(
    params: Params, spaces: Spaces, config: TD3Config, critic: Params, batch: Transition
) -> Float[Array, ""]:
    """-mean Q1(s, π(s)), the first critic only (line 19)."""
    action = policy(params, spaces, config, batch.observation)
    first = {FIRST_CRITIC: critic[FIRST_CRITIC]}
    return -q_values(first, config, batch.observation, action).mean()


def policy(
    params: Params, spaces: Spaces, config: TD3Config, observation: Float[Array, "*batch n_state"]
) -> Float[Array, "*batch n_action"]:
    """tanh of the actor's output, stretched to the bounds of the action."""
    squashed = jnp.tanh(apply_network(actor_network(spaces, config), params, observation))
    low, high = _bounds(spaces, squashed)
    return (high + low) / 2 + (high - low) / 2 * squashed


def q_values(
    params: Params,
    config: TD3Config,
    observation: Float[Array, "batch n_state"],
    action: Float[Array, "batch n_action"],
) -> Float[Array, "critics batch"]:
    """The value of every critic in `params`."""
    inputs = jnp.concatenate([observation, action], axis=-1)
    network = critic_network(config)
    return jnp.stack([apply_network(network, one, inputs)[..., 0] for one in params.values()])


def adaptation_schedule(
    config: TD3Config, step: Int[Array, ""]
) -> tuple[Bool[Array, ""], bool | Bool[Array, ""]]:
    """Whether the topology adapts after this update, and whether it grows what it drops."""
    due = step % config.adaptation_period == config.adaptation_offset
    if not config.last_adaptation:
        return due, True
    before_the_end = step - config.adaptation_period <= config.last_adaptation
    return due & before_the_end, step <= config.last_adaptation


def actor_network(spaces: Spaces, config: TD3Config) -> MLP:
    """The policy's network, before tanh."""
    return MLP(config.hidden_sizes, spaces.action_size)


def critic_network(config: TD3Config) -> MLP:
    """One critic."""
    return MLP(config.hidden_sizes, 1)


def make_sparsity(config: TD3Config) -> Sparsity:
    """How the networks are sparse: in their hidden layers, by the config's rules; or not at all."""
    return Sparsity(
        is_sparse=no_leaf if config.topology == "dense" else is_hidden_kernel,
        rules=sparse.Rules(config.drop_rule, config.grow_rule, config.grown_weight),
        moments=config.moments,
        target_ties=config.target_ties,
        exact_count=config.connection_count == "exact",
    )


def make_optimizer(config: TD3Config) -> optax.GradientTransformation:
    """Adam with L2 added to the gradient; not AdamW."""
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate)
    )


def _train_net(
    config: TD3Config, step: Int[Array, ""], key: PRNGKeyArray, net: SparseNet, gradients: Params
) -> SparseNet:
    """An optimizer step, and an adaptation by the schedule."""
    due, grow = adaptation_schedule(config, step)
    return sparse.step_and_adapt(
        due if config.topology == "dynamic" else False,
        key,
        net,
        gradients,
        config.drop_fraction,
        make_optimizer(config),
        make_sparsity(config),
        grow=grow,
    )


def _add_noise(
    action: Float[Array, "*batch n_action"], noise: Float[Array, "*batch n_action"], spaces: Spaces
) -> Float[Array, "*batch n_action"]:
    """Noise is in half ranges of each action; the sum is clipped to the bounds."""
    low, high = _bounds(spaces, action)
    return jnp.clip(action + (high - low) / 2 * noise, low, high)


def _bounds(spaces: Spaces, action: Float[Array, "*batch n_action"]) -> tuple[Array, Array]:
    low, high = jnp.array(spaces.action_low), jnp.array(spaces.action_high)
    return jnp.broadcast_to(low, action.shape), jnp.broadcast_to(high, action.shape)
