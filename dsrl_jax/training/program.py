"""The compiled functions of a training run, over members; what they carry from call to call."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrl_jax.agents.inspection import all_masks, inspect
from dsrl_jax.agents.sparsity import is_any_kernel
from dsrl_jax.agents.types import Agent, Metrics, Spaces, State, Transition
from dsrl_jax.sparse import count_connections
from dsrl_jax.training.devices import Placement, fetch, place, spread


class Keys(NamedTuple):
    """Three keys for each member, [members]; what is drawn follows from them and a step."""

    init: PRNGKeyArray
    explore: PRNGKeyArray
    update: PRNGKeyArray


class Carry(NamedTuple):
    """What a step takes and gives back; every leaf has a leading axis of members."""

    state: State
    sums: Metrics  # each metric's sum since it was last read
    bad_update: Int[Array, " members"]  # the first update with a loss that is not finite, or 0


class Program(NamedTuple):
    """Compiled functions of all members at once.

    init: () -> Carry
    act: (state, observations [members, …, n]) -> deterministic actions
    explore: (state, observations [members, n], env_step) -> the actions of that step
    step: (carry, packed batch, next observations, update, env_step) -> (carry, next actions);
      one update, and what to do at `env_step`; the carry that was given is consumed
    connections: (state) -> {network: int32 [members]}
    masks: (state) -> the masks by network, as NumPy arrays of their own
    policy: (state) -> the parameters that act, as NumPy arrays of their own
    placement: of the members over several devices, if they are
    inspect: (state, first masks, earlier masks, packed batch) -> {network: {layer:
      LayerTopology}}, see `inspection.py`
    """

    init: Callable[[], Carry]
    act: Callable[..., Array]
    explore: Callable[..., Array]
    step: Callable[..., tuple[Carry, Array]]
    connections: Callable[[State], dict[str, Array]]
    masks: Callable[[State], Any]
    inspect: Callable[..., Any]
    policy: Callable[[State], Any]
    placement: Placement | None = None


def compile_program(
    agent: Agent,
    config: Any,
    spaces: Spaces,
    seeds: tuple[int, ...],
    placement: Placement | None = None,
) -> Program:
    """Binds an agent to its members. Nothing is compiled before the first call.

    Args:
      placement: of the members over devices; None: all on one.
    """
    placement = placement or Placement(len(seeds))
    keys = place(placement, make_keys(seeds))
    config = place(placement, jax.tree.map(jnp.asarray, config), shared=True)
    members = _Members(agent, spaces, placement.each)

    def compiled(
        function: Callable[..., Any], in_axes: tuple[int | None, ...], *bound: Any, **options: Any
    ) -> Callable[..., Any]:
        on_each = spread(placement, partial(function, members), in_axes)
        return partial(jax.jit(on_each, **options), *bound)

    return Program(
        init=compiled(_init, (0, None), keys, config),
        act=compiled(_act, (None, 0, 0), config),
        explore=compiled(_explore, (0, None, 0, 0, None), keys, config),
        step=compiled(_step, (0, None, 0, 0, 0, None, None), keys, config, donate_argnums=2),
        connections=jax.jit(spread(placement, jax.vmap(_connections), (0,))),
        masks=lambda state: jax.tree.map(np.array, fetch(all_masks(state))),
        inspect=compiled(_inspect, (None, 0, 0, 0, 0), config),
        policy=lambda state: jax.tree.map(np.array, fetch(state.actor.params)),
        placement=placement,
    )


def make_keys(seeds: tuple[int, ...]) -> Keys:
    """Each member's keys, which follow from its seed."""
    return Keys(*jnp.stack([jax.random.split(jax.random.key(seed), 3) for seed in seeds], axis=1))


class _Members(NamedTuple):
    """Static: what is compiled for how many, on each device."""

    agent: Agent
    spaces: Spaces
    size: int

    def over(self, function: Callable[..., Any], *in_axes: int | None) -> Callable[..., Any]:
        return over_members(function, in_axes, self.size)


def _init(members: _Members, keys: Keys, config: Any) -> Carry:
    state = members.over(members.agent.init, 0, None)(keys.init, config)
    sums = dict.fromkeys(members.agent.metrics, jnp.zeros(members.size))
    return Carry(state, sums, jnp.zeros(members.size, jnp.int32))


def _act(members: _Members, config: Any, state: State, observation: Array) -> Array:
    return members.over(members.agent.act, None, 0, 0)(config, state, observation)


def _explore(
    members: _Members, keys: Keys, config: Any, state: State, observation: Array, env_step: Array
) -> Array:
    def one(key: Array, state: State, observation: Array) -> Array:
        this = jax.random.fold_in(key, env_step)
        return members.agent.explore(this, config, state, observation)

    return members.over(one, 0, 0, 0)(keys.explore, state, observation)


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
    batch = unpack(packed, members.spaces)
    carry = train(members.agent, members.size, keys.update, config, carry, batch, update)
    action = _explore(members, keys, config, carry.state, observation, env_step)
    return carry, action


def train(
    agent: Agent,
    members: int,
    keys: PRNGKeyArray,
    config: Any,
    carry: Carry,
    batch: Transition,
    update: Int[Array, ""],
) -> Carry:
    """One update of each member by its own batch, and what is told of it later."""
    state, metrics = over_members(agent.update, (0, None, 0, 0, None), members)(
        keys, config, carry.state, batch, update
    )
    finite = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))), axis=0)
    first = ~finite & (carry.bad_update == 0)
    bad_update = jnp.where(first, update, carry.bad_update)
    sums = {name: carry.sums[name] + value for name, value in metrics.items()}
    return Carry(state, sums, bad_update)


def _inspect(
    members: _Members, config: Any, state: State, first: Any, earlier: Any, packed: Array
) -> Any:
    look = members.over(partial(inspect, members.spaces), None, 0, 0, 0, 0)
    return look(config, state, first, earlier, unpack(packed, members.spaces))


def unpack(packed: Float[Array, "members batch columns"], spaces: Spaces) -> Transition:
    """The transitions of a batch that `Replay.sample` packed into one array."""
    n, k = spaces.observation_size, spaces.action_size
    return Transition(
        observation=packed[..., :n],
        action=packed[..., n : n + k],
        reward=packed[..., n + k],
        terminated=packed[..., n + k + 1],
        next_observation=packed[..., n + k + 2 :],
    )


def over_members(
    function: Callable[..., Any], in_axes: tuple[int | None, ...], members: int
) -> Callable[..., Any]:
    """`vmap` over members; one member alone runs unbatched, which is faster on a CPU."""
    if members > 1:
        return jax.vmap(function, in_axes)

    def alone(*arguments: Any) -> Any:
        first = [
            jax.tree.map(lambda leaf: leaf[0], argument) if axis == 0 else argument
            for argument, axis in zip(arguments, in_axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], function(*first))

    return alone


def _connections(state: State) -> dict[str, Array]:
    return {
        "actor": count_connections(state.actor.masks, is_counted=is_any_kernel),
        "critics": count_connections(state.critic.masks, is_counted=is_any_kernel),
    }
