"""TD3, Static-TD3 and DS-TD3 as one agent; `update` reads as Algorithm 1 (Sokar et al. 2022).

Dense TD3 is no other code: it has no layer that is sparse, and nothing to adapt.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrl_jax import sparse
from dsrl_jax.agents.networks import (
    FIRST_CRITIC,
    MLP,
    action_bounds,
    apply_network,
    q_values,
    stretch,
)
from dsrl_jax.agents.sparse_training import find_adaptation, init_nets, make_sparsity, train_net
from dsrl_jax.agents.types import Adaptation, Agent, Metrics, Spaces, Transition
from dsrl_jax.config.agents import TD3Config
from dsrl_jax.sparse import SparseNet, Target, run_if
from dsrl_jax.sparse.masks import Params


class TD3State(NamedTuple):
    """Everything that training changes. Both critics are one net and share one optimizer."""

    actor: SparseNet
    critic: SparseNet
    target_actor: Target
    target_critic: Target


def make_agent(spaces: Spaces) -> Agent:
    """The agent for an environment's spaces; its functions take the config each time."""
    return Agent(
        init=partial(init, spaces),
        explore=partial(explore, spaces),
        act=partial(act, spaces),
        update=partial(update, spaces),
        find_adaptation=find_adaptation,
        metrics=("critic_loss", "q_mean", "actor_loss"),
    )


def init(spaces: Spaces, key: PRNGKeyArray, config: TD3Config) -> TD3State:
    """Sparse actor and critics, and targets equal to them (Algorithm 1, lines 1 to 4)."""
    networks = actor_network(spaces, config), critic_network(config)
    actor, critic = init_nets(key, spaces, config, *networks)
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
    adaptation: Adaptation | None = None,
) -> tuple[TD3State, Metrics]:
    """One update: Algorithm 1, lines 11 to 28.

    Args:
      key: the member's key; what is drawn follows from it and `step` alone.
      step: counts updates from 1; shared by all members, not batched.
      adaptation: what `find_adaptation` says of the step; given as Python's booleans it leaves no
        branch.
    Returns:
      The state, and `critic_loss`, `q_mean`, and `actor_loss`: d times the loss at every d-th
      update and 0 at the others, so that its mean over updates is the mean loss.
    """
    adaptation = find_adaptation(config, step) if adaptation is None else adaptation
    key_noise, key_critic, key_actor = jax.random.split(jax.random.fold_in(key, step), 3)

    target = td_target(key_noise, spaces, config, state, batch)  # lines 11, 12
    (loss, q_mean), gradients = jax.value_and_grad(critic_loss, has_aux=True)(
        state.critic.params, config, target, batch
    )
    critic = train_net(  # lines 13 to 16
        key_critic, config, "critic", state.critic, gradients, adaptation
    )

    def train_actor(last: tuple[SparseNet, Array]) -> tuple[SparseNet, Array]:
        loss, gradients = jax.value_and_grad(actor_loss)(
            last[0].params, spaces, config, critic.params, batch
        )
        actor = train_net(  # lines 18 to 22
            key_actor, config, "actor", last[0], gradients, adaptation
        )
        return actor, config.policy_delay * loss

    actor, policy_loss = run_if(  # line 17
        step % config.policy_delay == 0, train_actor, (state.actor, jnp.zeros_like(loss))
    )
    average = partial(sparse.average_target, step % config.target_period == 0, tau=config.tau)
    target_critic = average(  # lines 24, 26
        state.target_critic, critic, sparsity=make_sparsity(config, "critic")
    )
    target_actor = average(  # lines 25, 27
        state.target_actor, actor, sparsity=make_sparsity(config, "actor")
    )
    metrics = {"critic_loss": loss, "q_mean": q_mean, "actor_loss": policy_loss}
    return TD3State(actor, critic, target_actor, target_critic), metrics


@jax.named_scope("td_target")
def td_target(
    key: PRNGKeyArray, spaces: Spaces, config: TD3Config, state: TD3State, batch: Transition
) -> Float[Array, " batch"]:
    """y = r + γ min Q'(s', ã) with a smoothed target action (eq. 3; lines 11 and 12)."""
    action = policy(state.target_actor.params, spaces, config, batch.next_observation)
    noise = config.target_noise * jax.random.normal(key, action.shape)
    noise = jnp.clip(noise, -config.target_noise_clip, config.target_noise_clip)
    action = _add_noise(action, noise, spaces)
    next_q = q_values(
        critic_network(config), state.target_critic.params, batch.next_observation, action
    )
    return batch.reward + config.discount * (1 - batch.terminated) * next_q.min(axis=0)


@jax.named_scope("critic_loss")
def critic_loss(
    params: Params, config: TD3Config, target: Float[Array, " batch"], batch: Transition
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum over both critics of the mean squared error (line 13); and the mean of their values."""
    q = q_values(critic_network(config), params, batch.observation, batch.action)
    return jnp.mean((q - target[None]) ** 2, axis=1).sum(), q.mean()


@jax.named_scope("actor_loss")
def actor_loss(
    params: Params, spaces: Spaces, config: TD3Config, critic: Params, batch: Transition
) -> Float[Array, ""]:
    """-mean Q1(s, π(s)), the first critic only (line 19)."""
    action = policy(params, spaces, config, batch.observation)
    first = {FIRST_CRITIC: critic[FIRST_CRITIC]}
    return -q_values(critic_network(config), first, batch.observation, action).mean()


def policy(
    params: Params, spaces: Spaces, config: TD3Config, observation: Float[Array, "*batch n_state"]
) -> Float[Array, "*batch n_action"]:
    """tanh of the actor's output, stretched to the bounds of the action."""
    (output,) = apply_network(actor_network(spaces, config), params, observation)
    return stretch(jnp.tanh(output), spaces)


def actor_network(spaces: Spaces, config: TD3Config) -> MLP:
    """The policy's network, before tanh."""
    return MLP(config.hidden_sizes, spaces.action_size, config.ACTOR_HEADS)


def critic_network(config: TD3Config) -> MLP:
    """One critic."""
    return MLP(config.hidden_sizes, 1)


def _add_noise(
    action: Float[Array, "*batch n_action"], noise: Float[Array, "*batch n_action"], spaces: Spaces
) -> Float[Array, "*batch n_action"]:
    """Noise is in half ranges of each action; the sum is clipped to the bounds."""
    low, high = action_bounds(spaces, action)
    return jnp.clip(action + (high - low) / 2 * noise, low, high)
