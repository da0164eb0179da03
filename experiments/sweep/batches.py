"""Trains one batch of a sweep into a run directory of its own."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import Experiment
from dsrl_jax.config.to_json import describe
from dsrl_jax.training import train as training
from experiments.cli import trainer
from experiments.cli.machine import changed_conditions
from experiments.run_dir.directory import RunDirectory, check_directory
from experiments.run_dir.state import is_finished, read_starts
from experiments.sweep.plan import Member
from experiments.sweep.progress import SweepProgress

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes


def train_batch(
    directory: Path,
    batch: Sequence[Member],
    experiment: Experiment,
    spaces: "Sizes",
    here: dict[str, Any],
    command: str,
    progress: SweepProgress,
    stop: Callable[[], bool],
) -> dict[str, Any] | None:
    """Trains a batch, or continues it; says so where that is no exact resume.

    Args:
      experiment: the batch's members, joined.
      here: on what it is computed, see `machine.conditions`.
    Returns:
      The last row of its loop; None where all was done before.
    Raises:
      What `trainer.FAILURES` names; DirectoryError if the directory holds something else.
    """
    if is_finished(directory, experiment):
        return None
    held = check_directory(directory, experiment)
    here = here | {"devices": training.count_devices(experiment, None)}
    if held and (changes := changed_conditions(here, [held, *read_starts(directory)])):
        print(f"warning: no exact resume, {'; '.join(changes)}", file=sys.stderr)
    start = {**here, "command": command}
    config = {
        "format": FORMAT,
        **describe(experiment),
        **spaces._asdict(),
        "action_size": len(spaces.action_low),
        **start,
        # A method may be a member of a wider one's program.
        "algos": [member.values.get("algo", experiment.algo) for member in batch],
    }
    directory.mkdir(exist_ok=True)
    files = RunDirectory(directory, config, start)
    rows = training.run(experiment, directory, tables=files.tables, stop=stop)
    return trainer.write_rows(files, progress, rows)
