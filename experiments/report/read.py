"""Reads run directories, finished, unfinished or collected, as one record per seed."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrl_jax.config.members import narrow
from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.config.settings import override
from dsrl_jax.config.to_json import from_description
from experiments.cli.values import UsageError
from experiments.report.methods import Method
from experiments.run_dir.directory import MAY_CHANGE, differences
from experiments.run_dir.metrics import Score, score
from experiments.run_dir.state import FILES, name_member, read_evaluations, read_rows

# Settings that `Method` has elsewhere, or that change nothing that is computed.
_NOT_A_CHANGE = {
    "env",
    "algo",
    "preset",
    "env_preset",
    "backend",
    "seeds",
    "log_period",
    "initial_policy",
    "varied",
    "freezes",
    *MAY_CHANGE,
}
# Settings that old configurations lack, with the only value that there was.
_FIRST = {"env_preset": "v5", "backend": "gymnasium"}
# Needed to count the costs of a run.
_SIZES = ("observation_size", "action_low", "action_high")
# Folders of a run directory that contain no further runs.
_OF_A_RUN = {"checkpoints", "replay", "tensorboard"}


class Run(NamedTuple):
    """One seed of a run directory."""

    directory: Path
    config: dict[str, Any]
    experiment: Experiment
    method: Method
    seed: int
    member: str  # its number in the tables of a sweep; else empty
    steps: np.ndarray  # int `[evaluations]`
    returns: np.ndarray  # float `[evaluations]`, mean over the episodes of each
    broke_down: bool  # later numbers were not finite

    @property
    def length(self) -> int:
        """The steps that it is meant to have."""
        return self.experiment.loop.steps

    @property
    def reached(self) -> int:
        """The step of its last evaluation."""
        return int(self.steps[-1])

    @property
    def is_whole(self) -> bool:
        """Whether it is finished."""
        return self.reached >= self.length

    def score(self, until: int) -> Score:
        """Returns the paper's measures of its evaluations up to a step."""
        shown = self.steps <= until
        period = self.experiment.loop.eval_period
        return score(self.steps[shown].tolist(), self.returns[shown].tolist(), period)


def read_runs(places: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Reads run directories, and folders that contain them at any depth.

    Of two runs with the same settings and seed one counts: the longer one, else the one with a
    topology, else the first one.

    Returns:
      The runs, and a line for each run that could not be read or does not count.
    Raises:
      UsageError: if a place is no directory, or there is no run at all.
    """
    runs: dict[Any, Run] = {}
    notes: list[str] = []
    for directory in dict.fromkeys(found for place in places for found in _find(place)):
        try:
            for run in list(_read(directory, notes)):
                _add(runs, run, notes)
        except (OSError, LookupError, TypeError, ValueError) as error:
            notes.append(f"{directory} is not counted: {explain(error)}")
    if not runs:
        where = ", ".join(map(str, places))
        raise UsageError(notes[0] if notes else f"{where} has no run")
    return sorted(runs.values(), key=lambda run: (run.method.order, run.length, run.seed)), notes


def _add(runs: dict[Any, Run], run: Run, notes: list[str]) -> None:
    """Adds a run, or keeps the better one of two with the same seed."""
    key = (run.method, run.length, run.seed)
    other = runs.setdefault(key, run)
    if other is run:
        return

    def rank(run: Run) -> tuple[int, bool]:
        return run.reached, (run.directory / FILES["topology"]).exists()

    kept, left = (run, other) if rank(run) > rank(other) else (other, run)
    runs[key] = kept
    # A copy begins like the longer run; collected runs have seven digits.
    common = min(len(kept.steps), len(left.steps))
    same_steps = np.array_equal(kept.steps[:common], left.steps[:common])
    returns = (kept.returns[:common], left.returns[:common])
    if not (same_steps and np.allclose(*returns, rtol=1e-6, atol=1e-6)):
        notes.append(
            f"{left.directory} is not counted: {kept.directory} has the same settings and seed "
            f"{left.seed}, with other returns"
        )


def explain(error: Exception) -> str:
    """Returns an error of reading in one line."""
    text = " ".join(str(error).split())
    return f"{text} is missing" if isinstance(error, KeyError) else text


def read_table(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table, as `read_rows`; none if there is no file."""
    return read_rows(path) if path.exists() else []


def _find(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        raise UsageError(f"{place} is no directory: name run directories, or folders of such")
    for path in sorted(place.rglob("config.json")):
        inside = [parent for parent in path.parents if place in parent.parents]
        if not any(
            folder.name in _OF_A_RUN and (folder.parent / "config.json").exists()
            for folder in inside
        ):
            yield path.parent


def _read(directory: Path, notes: list[str]) -> Iterator[Run]:
    """Yields the members of a run directory that have an evaluation; notes broken ones."""
    try:
        config = json.loads((directory / "config.json").read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"its config.json is no JSON: {error}") from error
    experiment = from_description(_FIRST | config)
    if lacking := [name for name in _SIZES if name not in config]:
        raise ValueError(f"its config.json has no {', '.join(lacking)}")
    found = read_evaluations(directory, experiment.loop.eval_period)
    if not found:
        notes.append(f"{directory} has no evaluation yet")
    for (member, seed), points in found.items():
        who = name_member(member, seed)
        if seed not in experiment.seeds:
            raise ValueError(f"evaluations.csv has {who}, config.json has not")
        # After the step at which a member of a sweep is frozen, it has no returns.
        finite = [(step, value) for step, value in points if math.isfinite(value)]
        if broke_down := len(finite) < len(points):
            notes.append(f"{directory}, {who}: its numbers were not finite")
        if not finite:
            continue
        own = _of_member(config, experiment, int(member or experiment.seeds.index(seed)))
        steps, returns = map(np.array, zip(*finite, strict=True))
        method = _method(config, own)
        yield Run(directory, config, own, method, seed, member, steps, returns, broke_down)


def _of_member(config: dict[str, Any], experiment: Experiment, place: int) -> Experiment:
    """Returns the settings of one member; members of a sweep differ in `varied` settings."""
    varied = config.get("varied") or {}
    own = {name: values[place] for name, values in varied.items()}
    member = replace(experiment, agent=override(experiment.agent, own))
    return narrow(config["algos"][place], member) if "algos" in config else member


def _method(config: dict[str, Any], experiment: Experiment) -> Method:
    """Returns the method of a run: its names, and each setting that its preset does not have."""
    plain = resolve(
        experiment.env,
        experiment.algo,
        preset=experiment.preset,
        env_preset=experiment.env_preset,
        backend=experiment.backend,
        settings={"steps": experiment.loop.steps},
    )
    changed = differences(experiment, plain, besides=_NOT_A_CHANGE)
    changes = {name: _freeze(value) for name, value in changed.items()}
    if policy := config.get("initial_policy"):
        # The content of a policy differs between machines, so it does not count.
        changes["initial_policy"] = (policy["algo"], policy["preset"], policy["env_step"])
    return Method(
        experiment.env,
        experiment.algo,
        experiment.preset,
        experiment.env_preset,
        experiment.backend,
        tuple(sorted(changes.items())),
    )


def _freeze(value: Any) -> Any:
    """Returns a setting's value as a hashable one."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value
