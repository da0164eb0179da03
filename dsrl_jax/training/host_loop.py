"""Training on Gymnasium: members in lockstep, one environment each, one compiled call a step."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import jax
import numpy as np

from dsrl_jax.training.checkpoint import Checkpoints, Saved
from dsrl_jax.training.config import LoopConfig
from dsrl_jax.training.evaluation import evaluate
from dsrl_jax.training.host_random import Stream, episode_seed, generator
from dsrl_jax.training.program import Carry, Program
from dsrl_jax.training.replay import Replay

Row = dict[str, Any]


class NotFiniteError(ArithmeticError):
    """A loss, an action, a reward or an observation that is not a finite number."""


@dataclasses.dataclass
class Progress:
    """Where each member stands; all arrays are [members, …]."""

    env_step: int
    logged: int  # the step of the last training rows
    observation: np.ndarray  # float32, what the next action answers
    action: np.ndarray  # float32, the next one
    episode: np.ndarray  # episodes begun before this one
    length: np.ndarray  # steps of the running episode
    episode_return: np.ndarray  # reward of the running episode
    last_return: np.ndarray  # of the last finished episode, NaN before the first

    COUNTERS = ("episode", "length", "episode_return", "last_return")


def train(
    program: Program,
    batch_size: int,
    loop: LoopConfig,
    environments: list[gymnasium.Env],
    evaluation_environments: list[list[gymnasium.Env]],
    replay: Replay,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Row]:
    """Trains all members for `loop.steps` steps, or what is left of them after a checkpoint.

    Args:
      program: the compiled functions of the agent.
      environments: one for each member.
      evaluation_environments: for each member one per evaluation episode.
      replay: empty; knows the members' seeds.
      checkpoints: where to save, at every evaluation, and where to continue from.
    Yields:
      First a row of `kind` "start": the step of the checkpoint, or 0. Then "training" and
      "evaluation", one for each member (at steps with both, in this order), and "timing".
    Raises:
      NotFiniteError: names the step, the member, and what was not finite.
    """
    watch = _Watch()
    carry, progress = _start(program, environments, replay, checkpoints)
    yield {"kind": "start", "env_step": progress.env_step}
    if progress.env_step == 0:
        yield from _evaluation_rows(program, carry, progress, 0, evaluation_environments, replay)
        _choose_action(program, carry, progress, loop, environments, replay)
    for env_step in range(progress.env_step + 1, loop.steps + 1):
        progress.env_step = env_step
        update = max(env_step - loop.start_steps, 0)
        transition = _step_environments(environments, replay.seeds, progress)
        replay.add(*transition)
        if checkpoints:
            checkpoints.replay_file.add(*transition)
        if update:
            packed = replay.sample(batch_size, env_step)
            carry, action = program.step(
                carry, packed, progress.observation, np.int32(update), np.int32(env_step + 1)
            )
            progress.action = np.asarray(action)
            _check_action(carry, progress, replay.seeds)
        else:
            _choose_action(program, carry, progress, loop, environments, replay)

        if env_step % loop.log_period == 0 or env_step == loop.steps:
            _check_losses(carry, progress, replay.seeds)
            yield from _training_rows(program, carry, progress, loop, replay.seeds)
            carry = carry._replace(sums=jax.tree.map(np.zeros_like, carry.sums))
            progress.logged = env_step
        if env_step % loop.eval_period == 0 or env_step == loop.steps:
            with watch.measuring("evaluation_seconds"):
                rows = _evaluation_rows(
                    program, carry, progress, update, evaluation_environments, replay
                )
            yield from rows
            with watch.measuring("checkpoint_seconds"):
                if checkpoints:
                    checkpoints.save(env_step, _to_saved(carry, progress))
            yield watch.row(env_step)


def _start(
    program: Program,
    environments: list[gymnasium.Env],
    replay: Replay,
    checkpoints: Checkpoints | None,
) -> tuple[Carry, Progress]:
    carry = program.init()
    members = len(environments)
    progress = Progress(
        env_step=0,
        logged=0,
        observation=np.zeros((members, replay.observation_size), np.float32),
        action=np.zeros((members, replay.action_size), np.float32),
        episode=np.zeros(members, np.int64),
        length=np.zeros(members, np.int64),
        episode_return=np.zeros(members),
        last_return=np.full(members, np.nan),
    )
    saved = checkpoints.restore(_to_saved(carry, progress).arrays) if checkpoints else None
    if saved:
        # As plain arrays: those that come from a checkpoint would compile a program of their own.
        carry = jax.tree.map(np.asarray, saved.arrays["carry"])
        progress.action = np.array(saved.arrays["action"])
        progress.env_step, progress.logged = saved.record["env_step"], saved.record["logged"]
        for name in Progress.COUNTERS:
            getattr(progress, name)[:] = saved.record[name]
    for member, seed in enumerate(replay.seeds):
        progress.observation[member] = _reset(environments[member], seed, progress, member)
        if checkpoints and saved:
            # An environment's state is where its episode's actions lead: no more is saved of it.
            for action in checkpoints.replay_file.last_actions(
                progress.env_step, member, int(progress.length[member])
            ):
                progress.observation[member] = environments[member].step(action)[0]
    return carry, progress


def _to_saved(carry: Carry, progress: Progress) -> Saved:
    record = {name: getattr(progress, name).tolist() for name in Progress.COUNTERS}
    arrays = {"carry": carry, "action": progress.action}
    counters = {"env_step": progress.env_step, "logged": progress.logged}
    return Saved(arrays, counters | record)


def _reset(environment: gymnasium.Env, seed: int, progress: Progress, member: int) -> np.ndarray:
    return environment.reset(seed=episode_seed(seed, int(progress.episode[member])))[0]


def _step_environments(
    environments: list[gymnasium.Env], seeds: tuple[int, ...], progress: Progress
) -> tuple[np.ndarray, ...]:
    """Steps every member, and starts its next episode where one ended.

    Returns:
      The transition, as `Replay.add` takes it.
    """
    observation, following = progress.observation, np.empty_like(progress.observation)
    reward = np.empty(len(seeds))
    terminated, truncated = np.zeros(len(seeds), bool), np.zeros(len(seeds), bool)
    for member, environment in enumerate(environments):
        following[member], reward[member], terminated[member], truncated[member], _ = (
            environment.step(progress.action[member])
        )
    transition = (observation, progress.action, reward, terminated, truncated, following)
    _check_transition(transition, progress, seeds)
    progress.length += 1
    progress.episode_return += reward
    progress.observation = following.copy()
    for member in np.flatnonzero(terminated | truncated).tolist():
        progress.last_return[member] = progress.episode_return[member]
        progress.episode[member] += 1
        progress.length[member] = 0
        progress.episode_return[member] = 0
        progress.observation[member] = _reset(environments[member], seeds[member], progress, member)
    return transition


def _choose_action(
    program: Program,
    carry: Carry,
    progress: Progress,
    loop: LoopConfig,
    environments: list[gymnasium.Env],
    replay: Replay,
) -> None:
    """The action of the next step where no update gives it: random, then by the first policy."""
    env_step = progress.env_step + 1
    if env_step > loop.start_steps:
        action = program.explore(carry.state, progress.observation, np.int32(env_step))
        progress.action = np.asarray(action)
        return
    for member, seed in enumerate(replay.seeds):
        space: Any = environments[member].action_space
        draw = generator(seed, Stream.RANDOM_ACTION, env_step)
        progress.action[member] = draw.uniform(space.low, space.high)


def _evaluation_rows(
    program: Program,
    carry: Carry,
    progress: Progress,
    updates: int,
    environments: list[list[gymnasium.Env]],
    replay: Replay,
) -> list[Row]:
    def policy(observations: np.ndarray) -> np.ndarray:
        return np.asarray(program.act(carry.state, observations))

    returns, lengths = evaluate(policy, environments, replay.seeds)
    return [
        {
            "kind": "evaluation",
            "seed": seed,
            "env_step": progress.env_step,
            "updates": updates,
            "return_mean": float(returns[member].mean()),
            "return_std": float(returns[member].std()),
            "returns": returns[member].tolist(),
            "lengths": lengths[member].tolist(),
        }
        for member, seed in enumerate(replay.seeds)
    ]


def _training_rows(
    program: Program, carry: Carry, progress: Progress, loop: LoopConfig, seeds: tuple[int, ...]
) -> list[Row]:
    """Means since the last rows; NaN before the first update."""
    updates = progress.env_step - max(progress.logged, loop.start_steps)
    sums = jax.device_get(carry.sums)
    connections = jax.device_get(program.connections(carry.state))
    return [
        {
            "kind": "training",
            "seed": seed,
            "env_step": progress.env_step,
            "updates": max(progress.env_step - loop.start_steps, 0),
            "episodes": int(progress.episode[member]),
            "episode_return": float(progress.last_return[member]),
            **{
                name: float(total[member]) / updates if updates > 0 else float("nan")
                for name, total in sums.items()
            },
            **{f"{name}_connections": int(n[member]) for name, n in connections.items()},
        }
        for member, seed in enumerate(seeds)
    ]


def _check_transition(
    transition: tuple[np.ndarray, ...], progress: Progress, seeds: tuple[int, ...]
) -> None:
    _, _, reward, _, _, following = transition
    for name, values in (("observation", following), ("reward", reward[:, None])):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            seed = seeds[int(np.argmin(finite))]
            raise NotFiniteError(f"seed {seed}, step {progress.env_step}: {name} is not finite")


def _check_action(carry: Carry, progress: Progress, seeds: tuple[int, ...]) -> None:
    if not np.isfinite(progress.action).all():
        _check_losses(carry, progress, seeds)
        member = int(np.argmin(np.isfinite(progress.action).all(axis=1)))
        raise NotFiniteError(f"seed {seeds[member]}, step {progress.env_step}: action not finite")


def _check_losses(carry: Carry, progress: Progress, seeds: tuple[int, ...]) -> None:
    for seed, update in zip(seeds, np.asarray(carry.bad_update).tolist(), strict=True):
        if update:
            raise NotFiniteError(f"seed {seed}, update {update}: a loss is not finite")


class _Watch:
    """Seconds since this process began to train, and what evaluations and checkpoints took."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.parts = {"evaluation_seconds": 0.0, "checkpoint_seconds": 0.0}

    @contextlib.contextmanager
    def measuring(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.parts[part] += time.perf_counter() - start

    def row(self, env_step: int) -> Row:
        seconds = time.perf_counter() - self.start
        return {"kind": "timing", "env_step": env_step, "seconds": seconds, **self.parts}
