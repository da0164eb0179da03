"""Trains by a plan: writes and shows rows as they come, and ends with a table and pictures."""

import collections
import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

import jax

from dsrl_jax.agents.costs import expected_cost
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import Experiment
from dsrl_jax.envs.guard import EnvironmentFailure
from dsrl_jax.training import train as training
from dsrl_jax.training.checkpoints.checkpoint import RestoreError, first_line
from dsrl_jax.training.nonfinite import NotFiniteError
from experiments.cli import summary
from experiments.cli.progress import Progress
from experiments.cli.stopping import StopRequest
from experiments.run_dir import pictures
from experiments.run_dir.directory import RunDirectory

Row = dict[str, Any]


class Shown(Protocol):
    """What shows rows."""

    def show(self, row: Row) -> None:
        """Takes in one row of a loop."""


# What may end a run and is no mistake in this program; of JAX's errors a lack of memory alone.
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
    spaces: Spaces,
    directory: Path,
    config: Row,
    start: Row,
    devices: int | None = None,
) -> int:
    """Trains into a run directory, which this process holds.

    Args:
      config, start: see `RunDirectory`.
      devices: see `training.train.run`.
    Returns:
      The exit status: 0; 1 for a run that failed, with one line that says why; 143 or 130 for one
      that a signal stopped.
    """
    try:
        with StopRequest() as request:
            files = RunDirectory(directory, config, start)
            rows = training.run(
                experiment, directory, tables=files.tables, stop=request.is_made, devices=devices
            )
            dense_weights = expected_cost(spaces, experiment.agent, 1).dense_weights
            progress = Progress(experiment.loop, len(experiment.seeds), dense_weights)
            with contextlib.closing(progress):
                last = write_rows(files, progress, rows)
        if last["kind"] == "stopped":
            step = f"stopped at step {last['env_step']:,} of {experiment.loop.steps:,} and saved"
            print(f"{step}; the same command continues", file=sys.stderr)
            return request.status
        told = summary.results(experiment, spaces, directory)
    except FAILURES as error:
        return tell_failure(error, directory)
    # Not caught above: a reader that has gone is no failure of the run.
    print(told)
    print(f"results in {directory}: evaluations.csv, training.csv, topology.csv, tensorboard")
    return draw(directory)


def draw(directory: Path) -> int:
    """Draws a run's pictures, and tells which; returns the exit status."""
    try:
        told = pictures.draw(directory)
    except FAILURES as error:
        return tell_failure(error, directory)
    print(told)
    return 0


def follow(experiment: Experiment, directory: Path, devices: int | None) -> int:
    """Takes part in a run that another process writes, and says nothing.

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


def tell_failure(error: Exception, directory: Path) -> int:
    """Says in one line why a run failed; returns the exit status. Raises what is a mistake here."""
    if isinstance(error, jax.errors.JaxRuntimeError) and not _is_lack_of_memory(error):
        raise error
    print(f"error: {_explain(error, directory)}", file=sys.stderr)
    return 1


def _explain(error: Exception, directory: Path) -> str:
    """A failure in one line: what happened, and what can be done."""
    if isinstance(error, RestoreError):
        return f"{error}; choose another --run_dir to start anew"
    if isinstance(error, OSError):
        return f"{error}; the same command continues in {directory} once that is mended"
    if _is_lack_of_memory(error):
        return f"out of memory, {first_line(error)}; --dry_run tells what is needed"
    return f"{error}; the last good rows are in {directory}"


def _is_lack_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def write_rows(files: RunDirectory, progress: Shown, rows: Generator[Row, None, None]) -> Row:
    """Writes and shows every row of the training; returns the last one."""
    row: Row = {}
    with contextlib.closing(files), contextlib.closing(rows):
        for row in rows:
            files.write(row)
            progress.show(row)
    return row
