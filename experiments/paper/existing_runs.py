"""Finds existing runs, in run directories and among collected results, by their config.json."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import Experiment
from dsrl_jax.training.checkpoints.checksums import RECORD
from experiments.run_dir.directory import MAY_CHANGE, describe_whole, with_defaults
from experiments.run_dir.state import checkpoints_of, evaluated_step, has_lost_its_checkpoints

# Part of the directory name of a policy that other runs start from. Continuing such a run would
# change the policy.
OF_POLICY = "-policy-"

# Part of the directory name of a run that starts from such a policy, followed by the policy's
# steps. Such a run continues only with that policy.
FROM_POLICY = "-from-"


class ExistingRun(NamedTuple):
    """A run directory or a collected run."""

    directory: Path
    config: dict[str, Any]
    reached: int  # the step up to which nothing can be lost
    is_collected: bool  # only its evaluations exist, so it cannot continue

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed per member."""
        return tuple(self.config["seeds"])

    @property
    def can_continue(self) -> bool:
        """Whether `experiments.paper` can extend it without outside help."""
        name = self.directory.name
        if self.is_collected or self.config.get("format") != FORMAT or OF_POLICY in name:
            return False
        if self.config.get("initial_policy") and FROM_POLICY not in name:
            return False
        return self.reached == 0 or checkpoints_of(self.directory).exists()


def existing_runs(runs: Path, results: Path) -> list[ExistingRun]:
    """Returns all runs in run directories under `runs` and collected ones under `results`.

    Skips directories that are not runs, and runs with a damaged config.json.

    Raises:
      ValueError: if evaluations that decide how far a run is are damaged.
    """
    here = [_read(path.parent, False) for path in sorted(runs.glob("*/config.json"))]
    return [*(run for run in here if run), *collected_runs(results)]


def collected_runs(results: Path) -> list[ExistingRun]:
    """Returns all runs under `results`; raises ValueError as `existing_runs` does."""
    collected = [_read(path.parent, True) for path in sorted(results.glob("*/*/config.json"))]
    return [run for run in collected if run]


def matches(run: ExistingRun, experiment: Experiment) -> bool:
    """Returns whether a run has an experiment's settings, for any seeds and length.

    Initial policies match by method, seed and length: their content differs between machines.
    """
    expected = describe_whole(experiment)
    if any(run.config[name] != expected[name] for name in ("env", "algo", "preset")):
        return False  # `with_defaults` only knows the settings of this method.
    actual = with_defaults(run.config, experiment)
    return all(
        _without_hash(actual[name]) == _without_hash(value)
        for name, value in expected.items()
        if name not in ("seeds", *MAY_CHANGE)
    )


def best_run(runs: Iterable[ExistingRun], experiment: Experiment, steps: int) -> ExistingRun | None:
    """Returns the longest run of an experiment's seed that has `steps` or can continue."""
    (seed,) = experiment.seeds
    usable = [
        run
        for run in runs
        if seed in run.seeds
        and (run.reached >= steps or run.can_continue)
        and matches(run, experiment)
    ]
    return max(usable, key=lambda run: run.reached, default=None)


def reached_step(directory: Path, seeds: tuple[int, ...], steps: int) -> int:
    """Returns the step up to which nothing of a run of `steps` can be lost.

    This is the step of its last checkpoint; for a finished run without checkpoints, of its last
    evaluation.

    Raises:
      ValueError: if these evaluations are damaged.
    """
    if has_lost_its_checkpoints(directory, seeds, steps):
        return evaluated_step(directory, seeds)
    saved = [path.parent.name for path in checkpoints_of(directory).glob(f"*/{RECORD}")]
    return max((int(name) for name in saved if name.isdecimal()), default=0)


def _read(directory: Path, is_collected: bool) -> ExistingRun | None:
    try:
        config = json.loads((directory / "config.json").read_text())
        seeds = tuple(int(seed) for seed in config["seeds"])
        names = [config[name] for name in ("env", "algo", "preset")]
        steps = int(config["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not seeds or not all(isinstance(name, str) for name in names):
        return None
    if is_collected:
        reached = evaluated_step(directory, seeds)
    else:
        reached = reached_step(directory, seeds, steps)
    return ExistingRun(directory, config, reached, is_collected)


def _without_hash(value: Any) -> Any:
    return {**value, "sha256": ""} if isinstance(value, dict) else value
