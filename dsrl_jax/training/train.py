"""Trains agents: the entry points. A run is an experiment, its compiled program and a back-end."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.layers import check_sparsity
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.members import resolve_members
from dsrl_jax.config.presets import Experiment
from dsrl_jax.envs import brax, catalog
from dsrl_jax.training import loop
from dsrl_jax.training.device import backend as device_backend
from dsrl_jax.training.device.program import compile_device_program
from dsrl_jax.training.devices import Placement, agreed, choose_placement
from dsrl_jax.training.host import backend as host_backend
from dsrl_jax.training.initial_policy import with_initial_policy
from dsrl_jax.training.loop import never
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.program import compile_program
from dsrl_jax.training.rows import Row, note_row


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
      env: halfcheetah, hopper, walker2d, ant, humanoid, or an id of the back-end.
      algo: td3, static_td3, ds_td3, sac, static_sac or ds_sac.
      preset: "paper", "official" for the authors' code, "figure1" for SAC with soft targets.
      env_preset: the version that a short name means; "v3" is the nearest to the paper.
      backend: "gymnasium", "envpool" for EnvPool's tasks, or "brax": all on the device.
      seeds: one for each member; members train in lockstep. If `settings` contains lists, one
        seed may be given for all members.
      initial_policy: the directory of a run on the same environment; its policy acts in the first
        start_steps steps, in place of random actions (Figure 3).
      devices: see `run`.
      settings: any setting of `TD3Config` or `SACConfig`, and of `LoopConfig`, such as steps or
        drop_fraction; with the back-end brax any of `BraxConfig`, such as num_envs. A float of the
        agent may be a list with one value for each member: rows then have the `member`, from 0.
    Yields:
      Dictionaries of `kind` "start", "evaluation", "topology", "training" and "timing", see
      `loop.train`; after the first a "note" if settings had to be rounded.
    Raises:
      ValueError: before anything runs; names what was given and what is allowed.
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
    return _with_notes(run(experiment, devices=devices), experiment.changes)


def run(
    experiment: Experiment,
    directory: Path | None = None,
    *,
    tables: tuple[Path, ...] = (),
    stop: Callable[[], bool] = never,
    devices: int | None = None,
) -> Generator[Row, None, None]:
    """Runs an experiment; saves it in `directory`, and continues a run that is there.

    Args:
      directory: of several processes that train one run, only the first one writes there; the
        others only need to pass some directory if the first one does.
      tables: files to which the reader appends rows, see `Checkpoints`.
      stop: called after every step; returns whether to save and end the run.
      devices: the number that shares the members evenly; None: on Brax as many as can, else one.
    Returns:
      The rows of `loop.train`.
    Raises:
      ValueError: if the environment cannot be made, a sparsity cannot be met, or so many devices
        cannot share the members evenly.
    """
    placement = _place_members(experiment, devices)
    if experiment.brax:
        environment = brax.make(experiment.env, experiment.brax.brax_backend)
        sizes = brax.read_sizes(environment)
    else:
        tasks = (experiment.env, experiment.env_preset, experiment.backend)
        sizes = catalog.look_up_sizes(*tasks)
    spaces = Spaces(*sizes)
    check_members(spaces, experiment)
    program = compile_program(
        AGENTS[type(experiment.agent)](spaces),
        config_of_members(experiment),
        spaces,
        experiment.seeds,
        placement=placement,
        freeze_nonfinite=experiment.freeze_nonfinite,
    )
    compiled = (experiment, spaces, program)
    if experiment.brax:
        device = compile_device_program(experiment, environment, spaces, placement)
        backend = device_backend.make_backend(*compiled, device, directory, tables)
    else:
        backend = host_backend.make_backend(*compiled, directory, tables)
    return loop.train(experiment, backend, agreed(stop))


def count_devices(experiment: Experiment, devices: int | None) -> int:
    """Returns how many devices share the members; argument and error are as in `run`."""
    mesh = _place_members(experiment, devices).mesh
    return mesh.size if mesh else 1


def check_members(spaces: Spaces, experiment: Experiment) -> None:
    """Checks that every member's sparsity can be met. Raises ValueError, see `check_sparsity`."""
    for member in range(len(experiment.seeds)):
        check_sparsity(spaces, experiment.agent_of(member))


def _place_members(experiment: Experiment, devices: int | None) -> Placement:
    if not experiment.brax and devices is None:
        devices = 1  # A call to several devices at each step has to pay.
    return choose_placement(len(experiment.seeds), devices)


def _with_notes(rows: Generator[Row, None, None], notes: tuple[str, ...]) -> Iterator[Row]:
    """Yields the rows, and notes on the settings after the first one."""
    with contextlib.closing(rows):
        for row in rows:
            yield row
            if row["kind"] == "start":
                yield from (note_row(row["env_step"], note) for note in notes)
