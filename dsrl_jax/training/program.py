"""The compiled functions of a training run, over members."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dsrl_jax.agents.diagnostics import all_masks, inspect
from dsrl_jax.agents.sparse_training import is_any_kernel
from dsrl_jax.agents.types import Agent, Spaces, State, Transition
from dsrl_jax.sparse import Layout, count_connections
from dsrl_jax.training.devices import Placement, compile_on, fetch, place, spread
from dsrl_jax.training.member_axis import axes_of, over_members, place_config
from dsrl_jax.training.update import Carry, update_members


class Keys(NamedTuple):
    """Three keys for each member, [members]; what is drawn follows from them and a step."""

    init: PRNGKeyArray
    explore: PRNGKeyArray
    update: PRNGKeyArray


class Program(NamedTuple):
    """Compiled functions of all members at once.

    init: () -> Carry
    act: (state, observations [members, …, n]) -> deterministic actions
    explore: (state, observations [members, n], env_step) -> the actions of that step
    step: (carry, packed batch, next observations, update, env_step) -> (carry, next actions); one
      update, and the actions at `env_step`. It consumes the carry that it is given
    connections: (state) -> {network: int32 [members]}
    masks: (state) -> the masks by network, copied to NumPy arrays
    inspect: (state, first masks, earlier masks, packed batch) -> {network: {layer:
      LayerTopology}}, see `diagnostics.py`
    policy: (state) -> the parameters that act, copied to NumPy arrays
    placement: where the members are
    """

    init: Callable[[], Carry]
    act: Callable[..., Array]
    explore: Callable[..., Array]
    step: Callable[..., tuple[Carry, Array]]
    connections: Callable[[State], dict[str, Array]]
    masks: Callable[[State], Any]
    inspect: Callable[..., Any]
    policy: Callable[[State], Any]
    placement: Placement


def compile_program(
    agent: Agent,
    config: Any,
    spaces: Spaces,
    seeds: tuple[int, ...],
    *,
    placement: Placement | None = None,
    freeze_nonfinite: bool = False,
) -> Program:
    """Binds an agent to its members. Nothing is compiled before the first call.

    Args:
      config: numbers in which members differ are arrays [members], see `config_of_members`.
      placement: of the members over devices; None: all on one.
      freeze_nonfinite: whether a member with a loss that is not finite is frozen, see `nonfinite`.
    """
    placement = placement or Placement(len(seeds))
    keys = place(placement, make_keys(seeds))
    config = place_config(placement, config)
    axes = axes_of(config)
    members = _Members(agent, spaces, placement.each, freeze_nonfinite)

    def compiled(function: Callable[..., Any], *given: Any, **options: Any) -> Callable[..., Any]:
        return compile_on(placement, partial(function, members), *given, **options)

    in_axes = (0, axes, 0, 0, 0, None, None)
    return Program(
        init=compiled(_init, (0, axes), keys, config),
        act=compiled(_act, (axes, 0, 0), config),
        explore=compiled(_explore, (0, axes, 0, 0, None), keys, config),
        step=compiled(_step, in_axes, keys, config, donate_argnums=2),
        connections=jax.jit(spread(placement, jax.vmap(_connections), (0,))),
        masks=lambda state: jax.tree.map(np.array, fetch(all_masks(state))),
        inspect=compiled(_inspect, (axes, 0, 0, 0, 0), config),
        policy=lambda state: jax.tree.map(np.array, fetch(state.actor.params)),
        placement=placement,
    )


def make_keys(seeds: tuple[int, ...]) -> Keys:
    """Returns each member's keys, which follow from its seed."""
    return Keys(*jnp.stack([jax.random.split(jax.random.key(seed), 3) for seed in seeds], axis=1))


class _Members(NamedTuple):
    """What is compiled on each device, and for how many members; static."""

    agent: Agent
    spaces: Spaces
    size: int
    freeze_nonfinite: bool

    def over(self, function: Callable[..., Any], *in_axes: Any) -> Callable[..., Any]:
        return over_members(function, in_axes, self.size)


def _init(members: _Members, keys: Keys, config: Any) -> Carry:
    state = members.over(members.agent.init, 0, axes_of(config))(keys.init, config)
    sums = dict.fromkeys(members.agent.metrics, jnp.zeros(members.size))
    return Carry(state, sums, jnp.zeros(members.size, jnp.int32))


def _act(members: _Members, config: Any, state: State, observation: Array) -> Array:
    act = members.over(members.agent.act, axes_of(config), 0, 0)
    return act(config, state, observation)


def _explore(
    members: _Members, keys: Keys, config: Any, state: State, observation: Array, env_step: Array
) -> Array:
    def one(key: Array, config: Any, state: State, observation: Array) -> Array:
        this = jax.random.fold_in(key, env_step)
        return members.agent.explore(this, config, state, observation)

    over = members.over(one, 0, axes_of(config), 0, 0)
    return over(keys.explore, config, state, observation)


def _step(
    members: _Members,
    keys: Keys,
    config: Any,
    carry: Carry,
    packed: Array,
    observation: Array,
    update: Array,
    env_step: Array,
) -> tuple[Carry, Array]:
    carry = update_members(
        members.agent,
        members.size,
        keys.update,
        config,
        carry,
        unpack(packed, members.spaces),
        update,
        freeze_nonfinite=members.freeze_nonfinite,
    )
    return carry, _explore(members, keys, config, carry.state, observation, env_step)


def _inspect(
    members: _Members, config: Any, state: State, first: Any, earlier: Any, packed: Array
) -> Any:
    look = members.over(partial(inspect, members.spaces), axes_of(config), 0, 0, 0, 0)
    return look(config, state, first, earlier, unpack(packed, members.spaces))


def unpack(packed: Float[Array, "members batch columns"], spaces: Spaces) -> Transition:
    """Returns the transitions of a batch that `Replay.sample` packed into one array."""
    n, k = spaces.observation_size, spaces.action_size
    return Transition(
        observation=packed[..., :n],
        action=packed[..., n : n + k],
        reward=packed[..., n + k],
        terminated=packed[..., n + k + 1],
        next_observation=packed[..., n + k + 2 :],
    )


def _connections(state: State) -> dict[str, Array]:
    return {
        "actor": count_connections(state.actor.masks, Layout(is_any_kernel)),
        "critics": count_connections(state.critic.masks, Layout(is_any_kernel)),
    }
