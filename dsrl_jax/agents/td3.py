"""TD3, Static-TD3 and DS-TD3 as one agent; `update` reads as Algorithm 1 (Sokar et al. 2022).

Dense TD3 is the same code without sparse layers.
"""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
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
)
from dsrl_jax.agents.sparse_training import (
    adaptation_due,
    init_nets,
    make_optimizer,
    make_sparsity,
)
from dsrl_jax.agents.types import Agent, Metrics, Spaces, Transition
from dsrl_jax.config.agents import TD3Config
from dsrl_jax.sparse import SparseNet, Target, average_target
from dsrl_jax.sparse.leaves import Params


class TD3State(NamedTuple):
    """The state of training. Both critics are one net and share one optimizer."""

    actor: SparseNet
    critic: SparseNet
    target_actor: Target
    target_critic: Target


class Delayed(NamedTuple):
    """The part of an update that only every d-th update makes."""

    actor: SparseNet
    target_actor: Target
    target_critic: Target
    actor_loss: Float[Array, ""]


def make_agent(spaces: Spaces) -> Agent:
    """Returns the agent for an environment's spaces; its functions take the config as argument."""
    return Agent(
        init=partial(init, spaces),
        explore=partial(explore, spaces),
        act=partial(act, spaces),
        update=partial(update, spaces),
        metrics=("critic_loss", "q_mean", "actor_loss"),
    )


def init(spaces: Spaces, key: PRNGKeyArray, config: TD3Config) -> TD3State:
    """Draws sparse actor and critics, and equal targets (Algorithm 1, lines 1 to 4)."""
    networks = actor_network(spaces, config), critic_network(config)
    actor, critic = init_nets(key, spaces, config, *networks)
    # Algorithm 1, line 4
    target_actor = sparse.init_target(actor, make_sparsity(config, "actor"))
    target_critic = sparse.init_target(critic, make_sparsity(config, "critic"))
    return TD3State(actor, critic, target_actor, target_critic)


def explore(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: TD3Config,
    state: TD3State,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """Samples a ~ π(s) + N(0, σ), clipped to the bounds."""
    # Algorithm 1, lines 7-8
    action = act(spaces, config, state, observation)
    noise = config.exploration_noise * jax.random.normal(key, action.shape)
    return _add_noise(action, noise, spaces)


def act(
    spaces: Spaces,
    config: TD3Config,
    state: TD3State,
    observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch action"]:
    """Returns the deterministic action π(s), in the environment's units."""
    return policy(state.actor.params, spaces, config, observation)


def update(
    spaces: Spaces,
    key: PRNGKeyArray,
    config: TD3Config,
    state: TD3State,
    batch: Transition,
    step: Int[Array, ""],
) -> tuple[TD3State, Metrics]:
    """Makes one update: Algorithm 1, lines 11 to 28.

    Args:
      key: the member's key; all random numbers follow from it and `step`.
      step: counts updates from 1; shared by all members, not batched.
    Returns:
      The state, and `critic_loss`, `q_mean`, and `actor_loss`: d times the loss at every d-th
      update and 0 at the others, so that its mean over updates is the mean loss.
    """
    key_noise, key_critic, key_actor = jax.random.split(jax.random.fold_in(key, step), 3)
    of_critic, of_actor = make_sparsity(config, "critic"), make_sparsity(config, "actor")
    due, grow = adaptation_due(config.sparse, step)
    eta, optimizer = config.sparse.drop_fraction, make_optimizer(config)
    train = partial(sparse.step_and_adapt, due, drop_fraction=eta, optimizer=optimizer, grow=grow)

    # Algorithm 1, lines 11-12
    target = td_target(key_noise, spaces, config, state, batch)
    (loss, q_mean), gradients = jax.value_and_grad(critic_loss, has_aux=True)(
        state.critic.params, config, target, batch
    )
    # Algorithm 1, lines 13-16
    critic = train(key_critic, state.critic, gradients, sparsity=of_critic)

    def train_actor_and_targets(old: Delayed) -> Delayed:
        # Algorithm 1, lines 18-19
        loss, gradients = jax.value_and_grad(actor_loss)(
            old.actor.params, spaces, config, critic.params, batch
        )
        # Algorithm 1, lines 20-22
        actor = train(key_actor, old.actor, gradients, sparsity=of_actor)
        # Algorithm 1, lines 23-27
        target_critic = average_target(old.target_critic, critic, config.tau, of_critic)
        target_actor = average_target(old.target_actor, actor, config.tau, of_actor)
        return Delayed(actor, target_actor, target_critic, config.policy_delay * loss)

    # Algorithm 1, lines 17-28
    old = Delayed(state.actor, state.target_actor, state.target_critic, jnp.zeros_like(loss))
    is_turn = step % config.policy_delay == 0
    new = lax.cond(is_turn, train_actor_and_targets, lambda old: old, old)
    metrics = {"critic_loss": loss, "q_mean": q_mean, "actor_loss": new.actor_loss}
    return TD3State(new.actor, critic, new.target_actor, new.target_critic), metrics


@jax.named_scope("td_target")
def td_target(
    key: PRNGKeyArray, spaces: Spaces, config: TD3Config, state: TD3State, batch: Transition
) -> Float[Array, " batch"]:
    """Returns y = r + γ min Q'(s', ã) with a smoothed target action (eq. 3)."""
    chex.assert_rank([batch.reward, batch.terminated], 1)
    # Algorithm 1, line 11
    action = policy(state.target_actor.params, spaces, config, batch.next_observation)
    noise = config.target_noise * jax.random.normal(key, action.shape)
    noise = jnp.clip(noise, -config.target_noise_clip, config.target_noise_clip)
    action = _add_noise(action, noise, spaces)
    # Algorithm 1, line 12
    next_q = q_values(
        critic_network(config), state.target_critic.params, batch.next_observation, action
    )
    return batch.reward + config.discount * (1 - batch.terminated) * next_q.min(axis=0)


@jax.named_scope("critic_loss")
def critic_loss(
    params: Params, config: TD3Config, target: Float[Array, " batch"], batch: Transition
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the sum of both critics' mean squared errors, and the mean of their values."""
    q = q_values(critic_network(config), params, batch.observation, batch.action)
    chex.assert_shape(q, (len(CRITICS), *target.shape))
    return jnp.mean((q - target[None]) ** 2, axis=1).sum(), q.mean()


@jax.named_scope("actor_loss")
def actor_loss(
    params: Params, spaces: Spaces, config: TD3Config, critic: Params, batch: Transition
) -> Float[Array, ""]:
    """Returns -mean Q1(s, π(s)), by the first critic only (line 19)."""
    action = policy(params, spaces, config, batch.observation)
    first = {CRITICS[0]: critic[CRITICS[0]]}
    return -q_values(critic_network(config), first, batch.observation, action).mean()


def policy(
    params: Params, spaces: Spaces, config: TD3Config, observation: Float[Array, "*batch n_state"]
) -> Float[Array, "*batch n_action"]:
    """Returns tanh of the actor's output, rescaled to the bounds of the action."""
    (output,) = apply_network(actor_network(spaces, config), params, observation)
    return rescale_action(jnp.tanh(output), spaces)


def actor_network(spaces: Spaces, config: TD3Config) -> MLP:
    """Returns the policy's network, whose output goes through tanh."""
    return MLP(config.hidden_sizes, spaces.action_size, config.ACTOR_HEADS)


def critic_network(config: TD3Config) -> MLP:
    """Returns the network of one critic."""
    return MLP(config.hidden_sizes, 1)


def _add_noise(
    action: Float[Array, "*batch n_action"], noise: Float[Array, "*batch n_action"], spaces: Spaces
) -> Float[Array, "*batch n_action"]:
    """Adds noise in units of each action's half range, and clips to the bounds."""
    low, high = action_bounds(spaces, action)
    return jnp.clip(action + (high - low) / 2 * noise, low, high)
