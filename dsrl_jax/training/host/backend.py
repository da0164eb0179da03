"""Training on host environments: members in lockstep, one environment each, one call a step."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import Experiment
from dsrl_jax.envs import catalog
from dsrl_jax.envs.guard import Guarded
from dsrl_jax.training.backend import Backend
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints, Saved
from dsrl_jax.training.devices import fetch, place
from dsrl_jax.training.host.evaluation import evaluate
from dsrl_jax.training.host.random import Stream, episode_seed, generator
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from dsrl_jax.training.initial_policy import compile_initial_policy
from dsrl_jax.training.nonfinite import (
    exclude,
    exclude_losses,
    freeze_transition,
    mark_frozen_if_new,
)
from dsrl_jax.training.program import Program
from dsrl_jax.training.progress import Progress, from_saved
from dsrl_jax.training.update import Carry

# The arrays of `HostState` that checkpoints keep as lists.
COUNTERS = ("episode", "length", "episode_return", "last_return")


class HostState(NamedTuple):
    """What a step changes. All but `carry` are NumPy arrays [members, …] and are not written to."""

    carry: Carry
    observation: np.ndarray  # float32, what the next action answers
    action: np.ndarray  # float32, the next one
    episode: np.ndarray  # finished episodes, which is the running one's number
    length: np.ndarray  # steps of the running episode
    episode_return: np.ndarray  # sum of rewards of the running episode
    last_return: np.ndarray  # of the last finished episode, NaN before the first


class _Host(NamedTuple):
    """What a step uses.

    environments: one for each member
    evaluation_environments: for each member one per evaluation episode
    initial_action: (step, observations [members, n]) -> the actions of the first start_steps
      steps; None: they are uniformly random
    """

    experiment: Experiment
    program: Program
    environments: list[gymnasium.Env]
    evaluation_environments: list[list[gymnasium.Env]]
    replay: Replay
    checkpoints: Checkpoints[ReplayFile] | None
    initial_action: Callable[..., jax.Array] | None


def make_backend(
    experiment: Experiment,
    spaces: Spaces,
    program: Program,
    directory: Path | None = None,
    tables: tuple[Path, ...] = (),
) -> Backend:
    """Makes the environments and the replay, and opens the checkpoints.

    Args:
      directory: where checkpoints and replay are saved; None: nothing is.
      tables: see `Checkpoints`.
    Raises:
      ValueError: if an environment cannot be made.
    """
    seeds, loop = experiment.seeds, experiment.loop
    make = partial(_make, experiment)
    environments = [make(f"seed {seed}, training") for seed in seeds]
    of_evaluation = [
        [make(f"seed {seed}, evaluation") for _ in range(loop.eval_episodes)] for seed in seeds
    ]
    capacity = min(loop.replay_size, loop.steps)
    # Algorithm 1, line 5; Algorithm 4, line 5
    replay = Replay(seeds, capacity, spaces.observation_size, spaces.action_size)
    checkpoints = None
    if directory:
        replay_file = ReplayFile(directory / "replay", replay)
        checkpoints = Checkpoints(directory / "checkpoints", replay_file, tables)
    first = compile_initial_policy(experiment, spaces) if experiment.initial_policy else None
    host = _Host(experiment, program, environments, of_evaluation, replay, checkpoints, first)
    return Backend(
        program=program,
        init=partial(_init, host),
        begin=partial(_begin, host),
        next_step=lambda env_step: env_step + 1,
        advance=partial(_advance, host),
        evaluate=partial(_evaluate, host),
        sample=partial(_sample, host),
        episodes=lambda state: (state.episode, state.last_return),
        pack=_pack,
        save=(lambda step, state, saved: checkpoints.save(step, saved)) if checkpoints else None,
        restore=partial(_restore, host) if checkpoints else None,
        close=partial(_close, host),
    )


def _make(experiment: Experiment, where: str) -> gymnasium.Env:
    made = catalog.make(experiment.env, experiment.env_preset, experiment.backend)
    return Guarded(made, where)


def _init(host: _Host) -> HostState:
    members, replay = len(host.environments), host.replay
    return HostState(
        carry=host.program.init(),
        observation=np.zeros((members, replay.observation_size), np.float32),
        action=np.zeros((members, replay.action_size), np.float32),
        episode=np.zeros(members, np.int64),
        length=np.zeros(members, np.int64),
        episode_return=np.zeros(members),
        last_return=np.full(members, np.nan),
    )


def _begin(host: _Host, state: HostState) -> HostState:
    observation = state.observation.copy()
    for member in range(len(host.environments)):
        observation[member] = _reset(host, member, episode=0)
    state = state._replace(observation=observation)
    return state._replace(action=_choose_action(host, state, env_step=1))


def _advance(
    host: _Host, state: HostState, progress: Progress, env_step: int
) -> tuple[HostState, np.ndarray]:
    """Steps every environment once, makes one update, and chooses the actions of the next step."""
    experiment, loop = host.experiment, host.experiment.loop
    transition, frozen = _step_environments(host, state, progress.frozen, env_step)
    host.replay.add(*transition)  # Algorithm 1, line 9; Algorithm 4, line 10
    if host.checkpoints:
        host.checkpoints.replay_file.add(*transition)
    state = _follow(host, state, transition, frozen)
    update = loop.updates_at(env_step)
    if update:
        carry = _mark(state.carry, frozen)
        packed = host.replay.sample(experiment.agent.batch_size, env_step)  # Algorithm 1, line 10
        # One update (Algorithm 4, line 12 to Algorithm 4, line 23) and the next action.
        carry, chosen = host.program.step(
            carry, packed, state.observation, np.int32(update), np.int32(env_step + 1)
        )
        action = np.array(chosen)
        frozen = exclude_losses(experiment, frozen, fetch(carry.bad_update), env_step)
        bad = ~np.isfinite(action)
        frozen = exclude(experiment, frozen, bad.any(axis=1), "an action", "step", env_step)
        action[frozen >= 0] = 0
        state = state._replace(carry=carry, action=action)
    if not update or env_step < loop.start_steps:
        state = state._replace(action=_choose_action(host, state, env_step + 1))
    return state._replace(carry=_mark(state.carry, frozen)), frozen


def _mark(carry: Carry, frozen: np.ndarray) -> Carry:
    """Lets the next update leave frozen members as they are."""
    return carry._replace(bad_update=mark_frozen_if_new(frozen, carry.bad_update))


def _step_environments(
    host: _Host, state: HostState, frozen: np.ndarray, env_step: int
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Steps the environments of all members that train.

    Returns:
      The transition, as `Replay.add` takes it, and who is frozen. Raises NotFiniteError.
    """
    members = len(host.environments)
    following, reward = np.empty_like(state.observation), np.zeros(members)
    terminated, truncated = np.zeros(members, bool), np.zeros(members, bool)
    trains = frozen < 0
    for member in np.flatnonzero(trains).tolist():
        # Algorithm 1, line 8; Algorithm 4, line 9
        following[member], reward[member], terminated[member], truncated[member], _ = (
            host.environments[member].step(state.action[member])
        )
    for name, values in (("observation", following), ("reward", reward[:, None])):
        bad = trains & ~np.isfinite(values).all(axis=1)
        frozen = exclude(host.experiment, frozen, bad, name, "step", env_step)
    transition = (state.observation, state.action, reward, terminated, truncated, following)
    freeze_transition(frozen, transition)
    return transition, frozen


def _follow(
    host: _Host, state: HostState, transition: tuple[np.ndarray, ...], frozen: np.ndarray
) -> HostState:
    """Returns the state after a transition; starts the next episode of a member that ended one."""
    _, _, reward, terminated, truncated, following = transition
    ended = terminated | truncated
    total = state.episode_return + reward
    observation, episode = following.copy(), state.episode + ended
    for member in np.flatnonzero(ended).tolist():
        observation[member] = _reset(host, member, int(episode[member]))
    return state._replace(
        observation=observation,
        episode=episode,
        length=np.where(ended, 0, state.length + (frozen < 0)),
        episode_return=np.where(ended, 0, total),
        last_return=np.where(ended, total, state.last_return),
    )


def _choose_action(host: _Host, state: HostState, env_step: int) -> np.ndarray:
    """Returns the actions of a step that no update chose: the first ones, then the policy's."""
    if env_step > host.experiment.loop.start_steps:
        explored = host.program.explore(state.carry.state, state.observation, np.int32(env_step))
        return np.array(explored)
    if host.initial_action:
        return np.array(host.initial_action(np.int32(env_step), state.observation))
    action = np.empty_like(state.action)
    for member, seed in enumerate(host.experiment.seeds):
        space: Any = host.environments[member].action_space
        draw = generator(seed, Stream.RANDOM_ACTION, env_step)
        action[member] = draw.uniform(space.low, space.high)
    return action


def _reset(host: _Host, member: int, episode: int) -> np.ndarray:
    seed = episode_seed(host.experiment.seeds[member], episode)
    return host.environments[member].reset(seed=seed)[0]


def _evaluate(host: _Host, state: HostState, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    def act(observations: np.ndarray) -> np.ndarray:
        return np.asarray(host.program.act(state.carry.state, observations))

    environments, seeds = host.evaluation_environments, host.experiment.seeds
    return evaluate(act, environments, seeds, playing=progress.trains)


def _sample(host: _Host, _: HostState, env_step: int) -> np.ndarray:
    size = host.experiment.agent.batch_size
    return host.replay.sample(size, env_step) if env_step else host.replay.empty_batch(size)


def _pack(state: HostState) -> tuple[dict[str, Any], dict[str, list]]:
    arrays = {name: getattr(state, name) for name in ("carry", "action", "observation")}
    return arrays, {name: getattr(state, name).tolist() for name in COUNTERS}


def _restore(host: _Host, state: HostState, like: dict[str, Any]) -> tuple[HostState, Saved]:
    assert host.checkpoints
    saved = host.checkpoints.restore(like)
    if not saved.parts:
        return state, saved
    arrays, record = saved.parts["state"], saved.record
    state = HostState(
        carry=place(host.program.placement, arrays["carry"]),
        observation=arrays["observation"],
        action=arrays["action"],
        **{name: np.array(record[name], getattr(state, name).dtype) for name in COUNTERS},
    )
    observation = _replay_episodes(host, state, from_saved(saved))
    if not np.array_equal(observation, state.observation):
        note = "the environment does not repeat its episodes: this run is no exact resume"
        saved = saved._replace(notes=(*saved.notes, note))
    return state._replace(observation=observation), saved


def _replay_episodes(host: _Host, state: HostState, progress: Progress) -> np.ndarray:
    """Brings every environment to where its running episode stood, by that episode's actions.

    No more is saved of an environment: to set a simulator's state is not exact. Environments of
    frozen members are never stepped again.

    Returns:
      The observations that this leads to.
    """
    assert host.checkpoints
    actions_of = host.checkpoints.replay_file.last_actions
    observation = state.observation.copy()
    for member in np.flatnonzero(progress.trains).tolist():
        observation[member] = _reset(host, member, int(state.episode[member]))
        for action in actions_of(progress.env_step, member, int(state.length[member])):
            observation[member] = host.environments[member].step(action)[0]
    return observation


def _close(host: _Host) -> None:
    for environment in (*host.environments, *itertools.chain(*host.evaluation_environments)):
        environment.close()
    if host.checkpoints:
        host.checkpoints.close()
