"""A whole training run from an experiment: environments, agent, program, replay, loop."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.layers import check_sparsity
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.loop import BraxConfig
from dsrl_jax.config.members import resolve_members
from dsrl_jax.config.presets import Experiment
from dsrl_jax.envs import brax as brax_tasks
from dsrl_jax.envs import catalog
from dsrl_jax.envs.guard import Guarded
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints
from dsrl_jax.training.device import backend as device_loop
from dsrl_jax.training.device.backend import DeviceSetup
from dsrl_jax.training.device.checkpoints import DeviceCheckpoints
from dsrl_jax.training.device.program import compile_device_program
from dsrl_jax.training.device.replay import count_columns, make_ring
from dsrl_jax.training.device.replay_file import DeviceReplayFile
from dsrl_jax.training.devices import (
    Placement,
    agreed,
    choose_placement,
    is_first_process,
    spread,
)
from dsrl_jax.training.host import backend as host_loop
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from dsrl_jax.training.initial_policy import with_initial_policy
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.policy import compile_initial_policy
from dsrl_jax.training.program import compile_program
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
    initial_policy: str | Path | None = None,
    devices: int | None = None,
    **settings: Any,
) -> Iterator[Row]:
    """Trains agents on an environment and yields rows as they come; writes nothing.

    Args:
      env: halfcheetah, hopper, walker2d, ant, humanoid, or an id of the back-end's.
      algo: td3, static_td3, ds_td3, sac, static_sac or ds_sac.
      preset: "paper", "official" for the authors' code, "figure1" for SAC with soft targets.
      env_preset: the version that a short name means; "v3" is the nearest to the paper.
      backend: "gymnasium", "envpool" for EnvPool's tasks, or "brax": all on the device.
      seeds: one member each, trained in lockstep; or one that all members of lists share.
      initial_policy: the directory of a run on the same environment; its policy acts in the first
        start_steps steps, in place of random actions (Figure 3).
      devices: see `run`.
      settings: any setting of `TD3Config` or `SACConfig`, and of `LoopConfig`, such as steps or
        drop_fraction; with the back-end brax any of `BraxConfig`, such as num_envs. A float of the
        agent's may be a list, one value for each member: rows then tell the `member`, from 0.
    Yields:
      Dictionaries of `kind` "start", "evaluation", "topology", "training" and "timing", see
      `host_loop.train`; after the first a "note" where settings had to be rounded.
    Raises:
      ValueError: names what was given and what is allowed, before anything runs.
    """
    experiment = resolve_members(
        catalog.resolve_id(env, env_preset, backend),
        algo,
        preset=preset,
        env_preset=env_preset,
        backend=backend,
        seeds=seeds,
        settings=settings,
    )
    if initial_policy is not None:
        sizes = catalog.look_up_sizes(experiment.env, env_preset, backend)
        experiment = with_initial_policy(experiment, sizes, initial_policy)
    return _noting(run(experiment, devices=devices), experiment.changes)


def run(
    experiment: Experiment,
    directory: Path | None = None,
    *,
    tables: tuple[Path, ...] = (),
    stop: Callable[[], bool] = never,
    devices: int | None = None,
) -> Generator[Row, None, None]:
    """Runs an experiment; with a directory it saves there, and continues from what is there.

    Args:
      directory: of several processes that train one run, the first one's is written to, and the
        others' tells no more than that it saves.
      tables: files to which the reader appends rows, see `Checkpoints`.
      stop: asked after every step whether the run shall save and end.
      devices: that share the members evenly; None: on Brax as many as can, else one.
    Raises:
      ValueError: if the environment cannot be made, a sparsity cannot be met, or so many devices
        cannot share the members.
    """
    placement = _place_members(experiment, devices)
    if experiment.brax:
        return _run_on_device(experiment, experiment.brax, placement, directory, tables, stop)
    return _run_on_host(experiment, placement, directory, tables, stop)


def _run_on_host(
    experiment: Experiment,
    placement: Placement,
    directory: Path | None,
    tables: tuple[Path, ...],
    stop: Callable[[], bool],
) -> Generator[Row, None, None]:
    seeds, loop = experiment.seeds, experiment.loop
    environment = (experiment.env, experiment.env_preset, experiment.backend)
    spaces = Spaces(*catalog.look_up_sizes(*environment))
    check_members(spaces, experiment)
    training = [_make(environment, f"seed {seed}, training") for seed in seeds]
    evaluation = [
        [_make(environment, f"seed {seed}, evaluation") for _ in range(loop.eval_episodes)]
        for seed in seeds
    ]
    agent = AGENTS[type(experiment.agent)](spaces)
    config = config_of_members(experiment)
    how: Any = {"placement": placement, "freeze_nonfinite": experiment.freeze_nonfinite}
    program = compile_program(agent, config, spaces, seeds, **how)
    capacity = min(loop.replay_size, loop.steps)
    replay = Replay(seeds, capacity, spaces.observation_size, spaces.action_size)
    checkpoints = None
    if directory:
        replay_file = ReplayFile(directory / "replay", replay)
        checkpoints = Checkpoints(directory / "checkpoints", replay_file, tables)
    size = experiment.agent.batch_size
    first = compile_initial_policy(experiment, spaces) if experiment.initial_policy else None
    rows = host_loop.train(
        Setup(
            program,
            size,
            loop,
            training,
            evaluation,
            replay,
            checkpoints,
            stop,
            numbered=experiment.is_numbered,
            freeze_nonfinite=experiment.freeze_nonfinite,
            initial_action=first,
        )
    )
    held = [*training, *itertools.chain(*evaluation), *([checkpoints] if checkpoints else [])]
    return _closing(rows, held)


def count_devices(experiment: Experiment, devices: int | None) -> int:
    """How many devices share the members; argument and error as of `run`."""
    mesh = _place_members(experiment, devices).mesh
    return mesh.size if mesh else 1


def _place_members(experiment: Experiment, devices: int | None) -> Placement:
    if not experiment.brax and devices is None:
        devices = 1  # A call to several devices at each step has to pay.
    return choose_placement(len(experiment.seeds), devices)


def _run_on_device(
    experiment: Experiment,
    brax: BraxConfig,
    placement: Placement,
    directory: Path | None,
    tables: tuple[Path, ...],
    stop: Callable[[], bool],
) -> Generator[Row, None, None]:
    seeds, loop, config = experiment.seeds, experiment.loop, config_of_members(experiment)
    environment = brax_tasks.make(experiment.env, brax.brax_backend)
    spaces = Spaces(*brax_tasks.read_sizes(environment))
    check_members(spaces, experiment)
    agent = AGENTS[type(config)](spaces)
    how: Any = {"placement": placement, "freeze_nonfinite": experiment.freeze_nonfinite}
    program = compile_program(agent, config, spaces, seeds, **how)
    device = compile_device_program(agent, config, spaces, seeds, environment, loop, brax, **how)
    capacity = min(loop.replay_size, loop.steps)
    make_rows = jax.jit(spread(placement, partial(make_ring, placement.each, capacity, spaces), ()))
    checkpoints = DeviceCheckpoints(None) if directory else None
    if directory and is_first_process():
        columns = count_columns(spaces)
        replay_file = DeviceReplayFile(directory / "replay", len(seeds), columns)
        checkpoints = DeviceCheckpoints(Checkpoints(directory / "checkpoints", replay_file, tables))
    setup = DeviceSetup(experiment, program, device, make_rows, checkpoints, agreed(stop))
    return _closing(device_loop.train(setup), [checkpoints] if checkpoints else [])


def _noting(rows: Generator[Row, None, None], notes: tuple[str, ...]) -> Iterator[Row]:
    """The rows, and after the first one what has to be told of the settings."""
    with contextlib.closing(rows):
        for row in rows:
            yield row
            if row["kind"] == "start":
                yield from (row | {"kind": "note", "text": note} for note in notes)


def check_members(spaces: Spaces, experiment: Experiment) -> None:
    """Whether every member's sparsity can be met. Raises ValueError, see `check_sparsity`."""
    for member in range(len(experiment.seeds)):
        check_sparsity(spaces, experiment.agent_of(member))


def _make(environment: tuple[str, str, str], where: str) -> gymnasium.Env:
    return Guarded(catalog.make(*environment), where)


def _closing(rows: Iterator[Row], held: list[Any]) -> Generator[Row, None, None]:
    """The rows; closes what they held, however they end."""
    with contextlib.ExitStack() as stack:
        for resource in held:
            stack.callback(resource.close)
        yield from rows
