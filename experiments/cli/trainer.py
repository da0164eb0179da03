"""Trains into a run directory: writes and shows rows as they come, then a table and pictures."""

import collections
import contextlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from dsrl_jax.agents.costs import expected_cost
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import Experiment
from dsrl_jax.config.to_json import describe
from dsrl_jax.envs.guard import EnvironmentFailure
from dsrl_jax.training import train as training
from dsrl_jax.training.checkpoints.checkpoint import RestoreError, first_line
from dsrl_jax.training.nonfinite import NotFiniteError
from experiments.cli import summary
from experiments.cli.command import StopRequest
from experiments.cli.machine import changed_conditions
from experiments.cli.progress import Progress
from experiments.run_dir.directory import read_config
from experiments.run_dir.state import read_starts
from experiments.run_dir.writer import RunDirectory

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes

Row = dict[str, Any]

# What may end a run and is no bug in this program; of JAX's errors only a lack of memory.
FAILURES = (
    NotFiniteError,
    EnvironmentFailure,
    RestoreError,
    OSError,
    MemoryError,
    jax.errors.JaxRuntimeError,
)


def train(
    experiment: Experiment,
    sizes: "Sizes",
    directory: Path,
    start: Row,
    devices: int | None = None,
) -> int:
    """Trains into a run directory that this process has locked.

    Args:
      start: see `open_directory`.
      devices: see `training.train.run`.
    Returns:
      The exit status: 0; 1 for a run that failed, with one line that says why; 143 or 130 for one
      that a signal stopped.
    """
    spaces = Spaces(*sizes)
    try:
        with StopRequest() as request:
            layers = {"layers": summary.densities(experiment, spaces)}
            files = open_directory(directory, experiment, sizes, start, layers)
            rows = training.run(
                experiment, directory, tables=files.tables, stop=request.is_made, devices=devices
            )
            dense_weights = expected_cost(spaces, experiment.agent, 1).dense_weights
            progress = Progress(experiment.loop, len(experiment.seeds), dense_weights)
            with contextlib.closing(progress):
                last = write_rows(files, rows, progress.show)
        if last["kind"] == "stopped":
            text = f"stopped at step {last['env_step']:,} of {experiment.loop.steps:,} and saved"
            print(f"{text}; the same command continues", file=sys.stderr)
            return request.status
        results = summary.results(experiment, spaces, directory)
    except FAILURES as error:
        return report_failure(error, directory)
    # Outside of `try`: a closed pipe is no failure of the run.
    print(results)
    print(f"results in {directory}: evaluations.csv, training.csv, topology.csv, tensorboard")
    return draw(directory)


def open_directory(
    directory: Path, experiment: Experiment, sizes: "Sizes", start: Row, more: Row
) -> RunDirectory:
    """Opens a run directory for writing; warns if the run cannot be resumed exactly.

    Args:
      start: what the run computes on, see `machine.conditions`, and its command.
      more: further entries of config.json.
    """
    previous = read_config(directory)
    if previous:
        if changes := changed_conditions(start, [previous, *read_starts(directory)]):
            print(f"warning: no exact resume, {'; '.join(changes)}", file=sys.stderr)
    config = {
        "format": FORMAT,
        **describe(experiment),
        **sizes._asdict(),
        "action_size": len(sizes.action_low),
        **more,
        **start,
    }
    return RunDirectory(directory, config, start)


def write_rows(
    files: RunDirectory, rows: Generator[Row, None, None], show: Callable[[Row], None]
) -> Row:
    """Writes and shows every row of the training; returns the last one."""
    row: Row = {}
    with contextlib.closing(files), contextlib.closing(rows):
        for row in rows:
            files.write(row)
            show(row)
    return row


def draw(directory: Path) -> int:
    """Draws a run's pictures and prints their names; returns the exit status."""
    from experiments import plot  # It imports the whole report, which a start need not wait for.

    try:
        drawn = plot.draw_run(directory)
    except FAILURES as error:
        return report_failure(error, directory)
    print(drawn)
    return 0


def follow(experiment: Experiment, directory: Path, devices: int | None) -> int:
    """Takes part in a run that another process writes; prints nothing.

    Returns:
      The exit status, as `train` does.
    """
    try:
        with StopRequest() as request:
            rows = training.run(experiment, directory, stop=request.is_made, devices=devices)
            (last,) = collections.deque(rows, maxlen=1)
    except FAILURES:
        return 1
    return request.status if last["kind"] == "stopped" else 0


def report_failure(error: Exception, directory: Path) -> int:
    """Prints in one line what failed and what to do; returns the exit status.

    Raises:
      The error itself, if it is a bug in this program.
    """
    lacks_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
    if isinstance(error, RestoreError):
        text = f"{error}; choose another --run_dir to start anew"
    elif isinstance(error, OSError):
        text = f"{error}; the same command continues in {directory} once that is mended"
    elif lacks_memory:
        text = f"out of memory, {first_line(error)}; --dry_run shows what is needed"
    elif isinstance(error, jax.errors.JaxRuntimeError):
        raise error
    else:
        text = f"{error}; the last good rows are in {directory}"
    print(f"error: {text}", file=sys.stderr)
    return 1
