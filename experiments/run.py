"""Trains agents: python -m experiments.run --env=halfcheetah --algo=ds_td3.

The same command, given again, continues a stopped run from its last checkpoint.
"""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

# These imports are light: mistakes on the command line are reported before JAX is imported.
from dsrl_jax.config.presets import Experiment
from experiments.cli import processes
from experiments.cli.command import ends_on_interrupt, start
from experiments.cli.flags import given_experiment, help_text, make_flags, parse
from experiments.cli.machine import (
    check_device,
    choose_device,
    conditions,
    keep_compiled_programs,
    keep_freed_memory,
)
from experiments.cli.values import UsageError, parse_seeds
from experiments.run_dir.directory import check_directory, default_directory
from experiments.run_dir.lock import locked
from experiments.run_dir.state import is_finished

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes


class Plan(NamedTuple):
    """A checked command line."""

    experiment: Experiment
    sizes: "Sizes"
    directory: Path
    previous: dict[str, Any] | None  # the config.json of the run to continue
    devices: int | None = None  # None: one

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.previous is not None and is_finished(self.directory, self.experiment)


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for a command line that cannot be run, 130
      and 143 for one that Ctrl-C or SIGTERM stopped.
    """
    values = make_flags()
    with ends_on_interrupt(), contextlib.ExitStack() as locks:
        try:
            parse(values, arguments)
            if values.help:
                print(__doc__ + "\n" + help_text(values))
                return 0
            if values.distributed:
                return run_together(values, arguments, locks)
            plan = prepare(values, locks)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return carry_out(plan, values, arguments)


def run_together(
    values: flags.FlagValues, arguments: list[str], locks: contextlib.ExitStack
) -> int:
    """Runs a command line as one of several processes; all end if one cannot run.

    Returns:
      The exit status.
    Raises:
      ValueError: what was given, and what is allowed.
    """
    if values.backend != "brax":
        raise UsageError(f"--distributed needs backend brax, got backend {values.backend}")
    choose_device(values.device, values.threads, values.deterministic)
    processes.join(values.distributed)
    from dsrl_jax.training.devices import is_first_process

    is_first = is_first_process()
    try:
        plan = prepare(values, locks, is_first=is_first)
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


def prepare(
    values: flags.FlagValues, locks: contextlib.ExitStack, *, is_first: bool = True
) -> Plan:
    """Checks a command line, and locks the run directory if there is something to train.

    Args:
      locks: keeps the lock until it is closed.
      is_first: whether this process writes; another one does not look at the directory.
    Raises:
      ValueError: what was given, and what is allowed.
    """
    seeds = parse_seeds(values)
    choose_device(values.device, values.threads, values.deterministic)
    experiment = given_experiment(values, seeds)

    from dsrl_jax.envs import catalog

    environment = (experiment.env, experiment.env_preset, experiment.backend)
    simulator = (experiment.brax.brax_backend,) if experiment.brax else ()
    sizes = catalog.look_up_sizes(*environment, *simulator)
    if values.initial_policy is not None:
        from dsrl_jax.training.initial_policy import with_initial_policy

        experiment = with_initial_policy(experiment, sizes, values.initial_policy)
    directory = Path(values.run_dir) if values.run_dir else default_directory(experiment)
    previous = check_directory(directory, experiment) if is_first else None
    if previous and not values.resume:
        raise UsageError(f"{directory} contains this run: leave out --noresume to continue it")
    plan = Plan(experiment, sizes, directory, previous)
    if plan.is_finished and not values.dry_run:
        return plan

    from dsrl_jax.agents.layers import check_sparsity
    from dsrl_jax.agents.types import Spaces
    from dsrl_jax.training.train import count_devices

    check_sparsity(Spaces(*sizes), experiment.agent)
    check_device(values.device)
    plan = plan._replace(devices=count_devices(experiment, values.devices))
    if is_first and not values.dry_run:
        locks.enter_context(locked(directory))
        # Checked again: now no other process writes there.
        plan = plan._replace(previous=check_directory(directory, experiment))
    return plan


def carry_out(plan: Plan, values: flags.FlagValues, arguments: list[str]) -> int:
    """Prints the plan, and trains unless it is a dry run or finished; returns the exit status."""
    experiment, directory = plan.experiment, plan.directory
    if plan.is_finished and not values.dry_run:
        print(f"{directory} is finished: all {experiment.loop.steps:,} steps are done")
        from experiments import plot

        if plot.is_drawn(directory):
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
    what = f"{experiment.algo} on {summary.environment(experiment, spaces)}"
    where = f"{'continues' if plan.previous else 'starts'} in {directory}"
    print("\n".join([f"{what}: {where}", *notes]), flush=True)
    start = {
        **conditions(
            values.device,
            values.threads,
            values.deterministic,
            experiment.backend,
            plan.devices or 1,
        ),
        "command": shlex.join(arguments),
    }
    keep_freed_memory()
    # Processes that compile together must all compile: on GPUs they share the search for the
    # fastest kernels, and would wait for a process that loads its program from the cache.
    if not values.distributed:
        keep_compiled_programs()
    return trainer.train(experiment, plan.sizes, directory, start, plan.devices)


if __name__ == "__main__":
    start(main)
