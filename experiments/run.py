"""Trains agents: python -m experiments.run --env=halfcheetah --algo=ds_td3.

The same command given again continues a run that was stopped, from its last checkpoint.
"""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from dsrl_jax.config.loop import FORMAT

# What is imported here is light: a mistake on the command line is told before JAX is imported.
from dsrl_jax.config.presets import ALGORITHMS, PRESETS, Experiment, check_choice, resolve
from dsrl_jax.config.to_json import describe
from experiments.cli import processes
from experiments.cli.command import start
from experiments.cli.flags import given_settings, help_text, make_flags, parse, parse_seeds
from experiments.cli.machine import (
    changed_conditions,
    check_device,
    choose_device,
    conditions,
    keep_compiled_programs,
    keep_freed_memory,
)
from experiments.cli.stopping import ends_on_interrupt
from experiments.cli.values import UsageError, parse_value
from experiments.run_dir import pictures
from experiments.run_dir.directory import check_directory, default_directory
from experiments.run_dir.lock import locked
from experiments.run_dir.state import is_finished, read_starts

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for a command line that cannot be run, 130
      and 143 for one that Ctrl-C or SIGTERM stopped.
    """
    with ends_on_interrupt(), contextlib.ExitStack() as held:
        return run(arguments, held)


def run(arguments: list[str], held: contextlib.ExitStack) -> int:
    """Prepares what was asked for, and does it; the run directory is held until the end."""
    values = make_flags()
    try:
        parse(values, arguments)
        if values.help:
            print(__doc__ + "\n" + help_text(values))
            return 0
        if values.distributed:
            return run_together(values, arguments, held)
        plan = hold(prepare(values), values, held)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return carry_out(plan, values, arguments)


def run_together(values: flags.FlagValues, arguments: list[str], held: contextlib.ExitStack) -> int:
    """The same as one of several processes; all end where one cannot run. Raises ValueError."""
    if values.backend != "brax":
        raise UsageError(f"--distributed is of backend brax, got backend {values.backend}")
    threads = parse_value("threads", int, values.threads) if values.threads else None
    choose_device(values.device, threads, values.deterministic)
    processes.join(values.distributed)
    from dsrl_jax.training.devices import is_first_process

    is_first = is_first_process()
    try:
        plan = prepare(values, is_first=is_first)
        plan = hold(plan, values, held) if is_first else plan
    except ValueError:
        processes.agree(processes.REFUSED)
        raise
    is_done = is_first and (values.dry_run or plan.is_finished)
    state = processes.agree(processes.DONE if is_done else processes.READY)
    if state == processes.REFUSED:
        raise UsageError("another process cannot run, and says why")
    if is_first:
        return carry_out(plan, values, arguments)
    if state == processes.DONE:
        return 0
    from experiments.cli import trainer

    return trainer.follow(plan.experiment, plan.directory, plan.devices)


def hold(plan: "Plan", values: flags.FlagValues, held: contextlib.ExitStack) -> "Plan":
    """The plan, with its directory locked where there is something to do. Raises ValueError."""
    if values.dry_run or plan.is_finished:
        return plan
    held.enter_context(locked(plan.directory))
    # Again, now that nobody else writes there.
    return plan._replace(held=check_directory(plan.directory, plan.experiment))


class Plan(NamedTuple):
    """What a command line means, checked."""

    experiment: Experiment
    sizes: "Sizes"
    directory: Path
    held: dict[str, Any] | None  # the config.json of the run that is continued
    threads: int | None
    devices: int | None = None  # None: one

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to do."""
        return self.held is not None and is_finished(self.directory, self.experiment)


def prepare(values: flags.FlagValues, *, is_first: bool = True) -> Plan:
    """Resolves and checks what was asked for; the last thing to be loaded is JAX.

    Args:
      is_first: whether this process is the one that writes; another's directory may be anything.
    Raises:
      ValueError: what was given, and what is allowed.
    """
    seeds, settings = parse_seeds(values), given_settings(values)
    threads = parse_value("threads", int, values.threads) if values.threads else None
    choose_device(values.device, threads, values.deterministic)
    check_choice("algo", values.algo, ALGORITHMS)
    check_choice("preset", values.preset, PRESETS)

    from dsrl_jax.envs import catalog

    env_id = catalog.resolve_id(values.env, values.env_preset, values.backend)
    experiment = resolve(
        env_id,
        values.algo,
        preset=values.preset,
        env_preset=values.env_preset,
        backend=values.backend,
        seeds=seeds,
        settings=settings,
    )
    sizes = catalog.look_up_sizes(
        env_id, values.env_preset, values.backend, *_simulator(experiment)
    )
    if values.initial_policy is not None:
        from dsrl_jax.training.initial_policy import with_initial_policy

        experiment = with_initial_policy(experiment, sizes, values.initial_policy)
    directory = Path(values.run_dir) if values.run_dir else default_directory(experiment)
    held = check_directory(directory, experiment) if is_first else None
    if held and not values.resume:
        raise UsageError(f"{directory} holds this run: leave out --noresume to continue it")
    plan = Plan(experiment, sizes, directory, held, threads)
    if values.dry_run or not plan.is_finished:
        _check_sparsity(experiment, sizes)
        check_device(values.device)
        plan = plan._replace(devices=_choose_devices(values, experiment))
    return plan


def _choose_devices(values: flags.FlagValues, experiment: Experiment) -> int:
    """How many devices share the members. Raises ValueError."""
    from dsrl_jax.training.train import count_devices

    devices = parse_value("devices", int, values.devices) if values.devices else None
    return count_devices(experiment, devices)


def _simulator(experiment: Experiment) -> tuple[str, ...]:
    return (experiment.brax.brax_backend,) if experiment.brax else ()


def _check_sparsity(experiment: Experiment, sizes: "Sizes") -> None:
    from dsrl_jax.agents.layers import check_sparsity
    from dsrl_jax.agents.types import Spaces

    check_sparsity(Spaces(*sizes), experiment.agent)


def carry_out(plan: Plan, values: flags.FlagValues, arguments: list[str]) -> int:
    """Shows the plan, and trains by it unless this is a dry run or there is nothing to do."""
    experiment, directory = plan.experiment, plan.directory
    if plan.is_finished and not values.dry_run:
        print(f"{directory} is finished: all {experiment.loop.steps:,} steps are done")
        if pictures.are_drawn(directory):
            return 0
        from experiments.cli import trainer

        return trainer.draw(directory)  # The run was killed after its last checkpoint.
    from dsrl_jax.agents.types import Spaces
    from experiments.cli import summary, trainer

    spaces = Spaces(*plan.sizes)
    notes = [f"note: {note}" for note in summary.notes(experiment, spaces)]
    if values.dry_run:
        print("\n".join([summary.plan(experiment, spaces, directory), *notes]))
        return 0
    here = conditions(
        values.device, plan.threads, values.deterministic, experiment.backend, plan.devices or 1
    )
    where = f"{'continues' if plan.held else 'starts'} in {directory}"
    what = f"{experiment.algo} on {summary.environment(experiment, spaces)}"
    print("\n".join([f"{what}: {where}", *notes]), flush=True)
    if plan.held and (changes := changed_conditions(here, [plan.held, *read_starts(directory)])):
        print(f"warning: no exact resume, {'; '.join(changes)}", file=sys.stderr)
    command = {"command": shlex.join(arguments)}
    config = {
        "format": FORMAT,
        **describe(experiment),
        **plan.sizes._asdict(),
        "action_size": spaces.action_size,
        "layers": summary.densities(experiment, spaces),
        **here,
        **command,
    }
    keep_freed_memory()
    # Of processes that compile together, all compile or none does: on GPUs they share the search
    # for the fastest kernels, and would wait for one that loads a program.
    if not values.distributed:
        keep_compiled_programs()
    return trainer.train(experiment, spaces, directory, config, here | command, plan.devices)


if __name__ == "__main__":
    start(main)
