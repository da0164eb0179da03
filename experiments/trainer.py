"""Trains by a plan: writes and shows rows as they come, and ends with a table and pictures."""

import contextlib
import sys

from dsrl_jax.agents.costs import expected_cost
from dsrl_jax.agents.types import Spaces
from dsrl_jax.envs.guard import EnvironmentFailure
from dsrl_jax.presets import Experiment
from dsrl_jax.training import train as training
from dsrl_jax.training.checkpoint import RestoreError
from dsrl_jax.training.finite import NotFiniteError
from experiments import pictures, summary
from experiments.progress import Progress
from experiments.run_directory import RunDirectory
from experiments.stopping import StopRequest


def train(experiment: Experiment, spaces: Spaces, files: RunDirectory) -> int:
    """Trains into a run directory, which this process holds.

    Returns:
      The exit status: 0; 1 for a run that failed, with one line that says why; 143 or 130 for one
      that a signal stopped.
    """
    directory = files.directory
    try:
        with StopRequest() as request:
            last = _write_rows(experiment, spaces, files, request)
    except (NotFiniteError, EnvironmentFailure) as error:
        held = f"the last good rows are in {directory}"
        print(f"error: {error}; {held}", file=sys.stderr)
        return 1
    except RestoreError as error:
        print(f"error: {error}; choose another --run_dir to start anew", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}; the same command continues once it is mended", file=sys.stderr)
        return 1
    if last["kind"] == "stopped":
        step = f"stopped at step {last['env_step']:,} of {experiment.loop.steps:,} and saved"
        print(f"{step}; the same command continues", file=sys.stderr)
        return request.status
    print(summary.results(experiment, spaces, directory))
    print(f"results in {directory}: evaluations.csv, training.csv, topology.csv, tensorboard")
    pictures.draw(directory)
    return 0


def _write_rows(
    experiment: Experiment, spaces: Spaces, files: RunDirectory, request: StopRequest
) -> dict:
    """Writes and shows every row of the training; returns the last one."""
    dense_weights = expected_cost(spaces, experiment.agent, 1).dense_weights
    progress = Progress(experiment.loop.steps, len(experiment.seeds), dense_weights)
    rows = training.run(experiment, files.directory, tables=files.tables, stop=request.is_made)
    row = {}
    with contextlib.closing(files), contextlib.closing(progress), contextlib.closing(rows):
        for row in rows:
            files.write(row)
            progress.show(row)
    return row
