"""The compiled functions of a run on the device: environments, replay and updates in one loop."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.networks import action_bounds
from dsrl_jax.agents.types import Agent, Spaces, State
from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.presets import Experiment
from dsrl_jax.envs import episodes as envs
from dsrl_jax.envs.brax import Environment
from dsrl_jax.envs.episodes import Episodes
from dsrl_jax.training.device import replay as device_replay
from dsrl_jax.training.devices import Placement, compile_on, place
from dsrl_jax.training.host.evaluation import SEED_OFFSET
from dsrl_jax.training.member_axis import axes_of, config_of_members, over_members, place_config
from dsrl_jax.training.nonfinite import mark_frozen
from dsrl_jax.training.program import make_keys, unpack
from dsrl_jax.training.update import Carry, update_members


class Keys(NamedTuple):
    """Keys for each member, [members]; every draw follows from them and a count."""

    start: PRNGKeyArray  # of training episodes
    explore: PRNGKeyArray
    sample: PRNGKeyArray
    update: PRNGKeyArray
    evaluate: PRNGKeyArray  # of the starts of evaluation episodes


class DeviceState(NamedTuple):
    """Everything that a run changes; every leaf has a leading axis of members.

    The step is not part of it: with one step for each member every branch on it would be a select.
    """

    carry: Carry
    rows: device_replay.Rows
    episodes: Episodes
    last_return: Float[Array, " members"]  # see `_last_return`; NaN before the first end
    bad_step: Int[Array, " members"]  # the first step with a number that is not finite, or 0


class DeviceProgram(NamedTuple):
    """Compiled functions of all members at once.

    placement: where the members are
    start: (carry, rows) -> DeviceState; both are consumed
    advance: (state, first, last) -> DeviceState after the vector steps `first` to `last`, counted
      from 1; it consumes the state that it is given and copies nothing to the host in between
    evaluate: (state) -> returns, float32 [members, episodes], and their lengths
    sample: (rows, added, update) -> the packed batch of that update
    """

    placement: Placement
    start: Callable[[Carry, Array], DeviceState]
    advance: Callable[..., DeviceState]
    evaluate: Callable[[State], tuple[Array, Array]]
    sample: Callable[..., Array]


class _Run(NamedTuple):
    """What is compiled; static."""

    agent: Agent
    spaces: Spaces
    environment: Environment
    loop: LoopConfig
    brax: BraxConfig
    batch_size: int
    members: int  # of each device
    freeze_nonfinite: bool


def compile_device_program(
    experiment: Experiment,
    environment: Environment,
    spaces: Spaces,
    placement: Placement | None = None,
) -> DeviceProgram:
    """Binds an experiment to its environment. Nothing is compiled before the first call.

    Args:
      experiment: its settings in steps are multiples of num_envs. If members freeze, a
        transition that is not finite counts as a loss that is not.
      placement: of the members over devices; None: all on one.
    """
    placement = placement or Placement(len(experiment.seeds))
    config = config_of_members(experiment)
    assert experiment.brax
    run = _Run(
        AGENTS[type(config)](spaces),
        spaces,
        environment,
        experiment.loop,
        experiment.brax,
        config.batch_size,
        placement.each,
        experiment.freeze_nonfinite,
    )
    keys = place(placement, _make_device_keys(experiment.seeds))
    config = place_config(placement, config)
    axes = axes_of(config)

    def compiled(function: Callable[..., Any], *given: Any, **options: Any) -> Callable[..., Any]:
        return compile_on(placement, partial(function, run), *given, **options)

    return DeviceProgram(
        placement,
        start=compiled(_start, (0, 0, 0), keys, donate_argnums=(1, 2)),
        advance=compiled(_advance, (0, axes, 0, None, None), keys, config, donate_argnums=2),
        evaluate=compiled(_evaluate, (0, axes, 0), keys, config),
        sample=compiled(_sample, (0, 0, None, None), keys),
    )


def _make_device_keys(seeds: tuple[int, ...]) -> Keys:
    ours = make_keys(seeds)
    start, explore, sample = jnp.moveaxis(
        jax.vmap(lambda key: jax.random.split(key, 3))(ours.explore), 0, 1
    )
    evaluate = jnp.stack([jax.random.key(seed + SEED_OFFSET) for seed in seeds])
    return Keys(start, explore, sample, ours.update, evaluate)


def _start(run: _Run, keys: Keys, carry: Carry, rows: Array) -> DeviceState:
    episodes = envs.start(run.environment, keys.start, run.brax.num_envs)
    nothing = jnp.zeros(run.members, jnp.int32)
    state = DeviceState(carry, rows, episodes, jnp.full(run.members, jnp.nan), nothing)
    return envs.strong(state)


def _advance(
    run: _Run, keys: Keys, config: Any, state: DeviceState, first: Array, last: Array
) -> DeviceState:
    def step(index: Array, state: DeviceState) -> DeviceState:
        return _train(run, keys, config, _collect(run, keys, config, state, index), index)

    return lax.fori_loop(first, last + 1, step, state)


def _collect(run: _Run, keys: Keys, config: Any, state: DeviceState, index: Array) -> DeviceState:
    """Makes the `index`-th step of every environment and adds the transitions to the replay."""
    num_envs = run.brax.num_envs
    observation = envs.observe(state.episodes)
    action = _choose_action(run, keys, config, state.carry.state, observation, index)
    episodes, outcome = envs.step(
        run.environment, run.brax.episode_length, keys.start, state.episodes, action
    )
    new = device_replay.pack(
        observation, action, outcome.reward, outcome.terminated, outcome.next_observation
    )
    is_bad = ~jnp.isfinite(new).all(axis=(1, 2)) & (state.bad_step == 0)
    carry = state.carry
    if run.freeze_nonfinite:
        carry = carry._replace(bad_update=mark_frozen(is_bad, carry.bad_update))
    return DeviceState(
        carry=carry,
        rows=device_replay.add(state.rows, new, (index - 1) * num_envs),
        episodes=episodes,
        last_return=_last_return(outcome, state.last_return),
        bad_step=jnp.where(is_bad, index * num_envs, state.bad_step),
    )


def _train(run: _Run, keys: Keys, config: Any, state: DeviceState, index: Array) -> DeviceState:
    """Makes the updates that follow the `index`-th step, if there are any."""
    added, each = index * run.brax.num_envs, run.brax.updates
    vector_steps_before = run.loop.steps_before_updates // run.brax.num_envs
    done = (index - 1 - vector_steps_before) * each

    def update(count: Array, carry: Carry) -> Carry:
        packed = _sample(run, keys, state.rows, added, done + count)
        batch = unpack(packed, run.spaces)
        given = (run.agent, run.members, keys.update, config, carry, batch, done + count)
        return update_members(*given, freeze_nonfinite=run.freeze_nonfinite)

    def update_all(carry: Carry) -> Carry:
        return lax.fori_loop(1, each + 1, update, carry)

    carry = lax.cond(index > vector_steps_before, update_all, lambda carry: carry, state.carry)
    return state._replace(carry=carry)


def _sample(run: _Run, keys: Keys, rows: Array, added: Array, update: Array) -> Array:
    return device_replay.sample(keys.sample, rows, added, update, run.batch_size)


def _choose_action(
    run: _Run, keys: Keys, config: Any, state: State, observation: Array, index: Array
) -> Array:
    """Returns uniformly random actions in the first `start_steps` steps, then the policy's."""

    def random(key: PRNGKeyArray, config: Any, state: State, observation: Array) -> Array:
        del config, state  # Random actions ignore the agent.
        share = jax.random.uniform(key, (*observation.shape[:-1], run.spaces.action_size))
        low, high = action_bounds(run.spaces, share)
        return low + (high - low) * share

    def of_all(choose: Callable[..., Array]) -> Callable[[], Array]:
        over = over_members(choose, (0, axes_of(config), 0, 0), run.members)
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, index))(keys.explore)
        return lambda: over(step_keys, config, state, observation)

    is_random = index * run.brax.num_envs <= run.loop.start_steps
    return lax.cond(is_random, of_all(random), of_all(run.agent.explore))


def _last_return(outcome: envs.Outcome, before: Array) -> Array:
    """Returns the mean return of the episodes that ended at the last step at which one did."""
    ended = outcome.terminated | outcome.truncated
    count = ended.sum(axis=1)
    mean = jnp.where(ended, outcome.total, 0).sum(axis=1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, before)


def _evaluate(run: _Run, keys: Keys, config: Any, state: State) -> tuple[Array, Array]:
    """Plays one episode in each of `eval_episodes` environments, without noise.

    They start in the same states each time.
    """
    act = over_members(run.agent.act, (axes_of(config), 0, 0), run.members)
    limit = run.brax.episode_length
    shape = (run.members, run.loop.eval_episodes)

    def is_running(playing: tuple[Episodes, Array, Array, Array]) -> Array:
        return playing[1].any()

    def play(playing: tuple[Episodes, Array, Array, Array]) -> tuple[Any, ...]:
        episodes, running, returns, lengths = playing
        action = act(config, state, envs.observe(episodes))
        episodes, outcome = envs.step(run.environment, limit, keys.evaluate, episodes, action)
        returns = jnp.where(running, outcome.total, returns)
        lengths = jnp.where(running, outcome.length, lengths)
        return episodes, running & ~(outcome.terminated | outcome.truncated), returns, lengths

    episodes = envs.start(run.environment, keys.evaluate, run.loop.eval_episodes)
    begun = episodes, jnp.ones(shape, bool), jnp.zeros(shape), jnp.zeros(shape, jnp.int32)
    _, _, returns, lengths = lax.while_loop(is_running, play, begun)
    return returns, lengths
