"""A whole training run from an experiment: environments, agent, program, replay, loop."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import gymnasium

from dsrl_jax.agents.densities import check_sparsity
from dsrl_jax.agents.registry import AGENTS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.envs import catalog
from dsrl_jax.envs.guard import Guarded
from dsrl_jax.presets import Experiment, resolve
from dsrl_jax.training import host_loop
from dsrl_jax.training.checkpoint import Checkpoints
from dsrl_jax.training.program import compile_program
from dsrl_jax.training.replay import Replay
from dsrl_jax.training.replay_file import ReplayFile
from dsrl_jax.training.rows import Row
from dsrl_jax.training.setup import Setup, never


def train(
    env: str,
    algo: str = "ds_td3",
    *,
    preset: str = "paper",
    env_preset: str = "v5",
    backend: str = "gymnasium",
    seeds: Any = (0,),
    **settings: Any,
) -> Iterator[Row]:
    """Trains agents on a Gymnasium environment and yields rows as they come; writes nothing.

    Args:
      env: halfcheetah, hopper, walker2d, ant, humanoid, or a Gymnasium id.
      algo: td3, static_td3, ds_td3, sac, static_sac or ds_sac.
      preset: "paper", "official" for the authors' code, "figure1" for SAC with soft targets.
      env_preset: the version that a short name means; "v3" is the nearest to the paper.
      backend: "gymnasium", or "envpool" for EnvPool's tasks.
      seeds: one member each, trained in lockstep.
      settings: any setting of `TD3Config` or `SACConfig`, and of `LoopConfig`, such as steps or
        drop_fraction.
    Yields:
      Dictionaries of `kind` "start", "evaluation", "topology", "training" and "timing", see
      `host_loop.train`.
    Raises:
      ValueError: names what was given and what is allowed, before anything runs.
    """
    experiment = resolve(
        catalog.resolve_id(env, env_preset, backend),
        algo,
        preset=preset,
        env_preset=env_preset,
        backend=backend,
        seeds=seeds,
        settings=settings,
    )
    return run(experiment)


def run(
    experiment: Experiment,
    directory: Path | None = None,
    *,
    tables: tuple[Path, ...] = (),
    stop: Callable[[], bool] = never,
) -> Generator[Row, None, None]:
    """Runs an experiment; with a directory it saves there, and continues from what is there.

    Args:
      tables: files to which the reader appends rows, see `Checkpoints`.
      stop: asked after every step whether the run shall save and end.
    Raises:
      ValueError: if the environment cannot be made, or a sparsity cannot be met.
    """
    seeds, loop = experiment.seeds, experiment.loop
    environment = (experiment.env, experiment.env_preset, experiment.backend)
    spaces = Spaces(*catalog.look_up_sizes(*environment))
    check_sparsity(spaces, experiment.agent)
    training = [_make(environment, f"seed {seed}, training") for seed in seeds]
    evaluation = [
        [_make(environment, f"seed {seed}, evaluation") for _ in range(loop.eval_episodes)]
        for seed in seeds
    ]
    agent = AGENTS[type(experiment.agent)](spaces)
    program = compile_program(agent, experiment.agent, spaces, seeds)
    capacity = min(loop.replay_size, loop.steps)
    replay = Replay(seeds, capacity, spaces.observation_size, spaces.action_size)
    checkpoints = None
    if directory:
        replay_file = ReplayFile(directory / "replay", replay)
        checkpoints = Checkpoints(directory / "checkpoints", replay_file, tables)
    size = experiment.agent.batch_size
    rows = host_loop.train(
        Setup(program, size, loop, training, evaluation, replay, checkpoints, stop)
    )
    held = [*training, *itertools.chain(*evaluation), *([checkpoints] if checkpoints else [])]
    return _closing(rows, held)


def _make(environment: tuple[str, str, str], where: str) -> gymnasium.Env:
    return Guarded(catalog.make(*environment), where)


def _closing(rows: Iterator[Row], held: list[Any]) -> Generator[Row, None, None]:
    """The rows; closes what they held, however they end."""
    with contextlib.ExitStack() as stack:
        for resource in held:
            stack.callback(resource.close)
        yield from rows
