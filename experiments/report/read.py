"""Run directories, collected or being written, as plain records: one for each seed."""

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
from experiments.report.methods import Method, freeze
from experiments.run_dir.directory import MAY_CHANGE, differences
from experiments.run_dir.metrics import Score, score
from experiments.run_dir.state import FILES, name_member, read_evaluations, read_rows

# What tells a run's method otherwise, or changes nothing that is computed.
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
# What configurations lack that were written before there was a choice.
_FIRST = {"env_preset": "v5", "backend": "gymnasium"}
# What the costs of a run are counted by.
_SIZES = ("observation_size", "action_low", "action_high")
# Below these of a run directory there are no others.
_OF_A_RUN = {"checkpoints", "replay", "tensorboard"}


class Run(NamedTuple):
    """One seed of a run directory."""

    directory: Path
    config: dict[str, Any]
    experiment: Experiment
    method: Method
    seed: int
    member: str  # its number, where the tables tell it
    steps: np.ndarray  # int, of its evaluations
    returns: np.ndarray  # float, mean over an evaluation's episodes
    broke_down: bool  # its numbers were not finite after these

    @property
    def length(self) -> int:
        """The steps that it shall have."""
        return self.experiment.loop.steps

    @property
    def reached(self) -> int:
        """The step of its last evaluation."""
        return int(self.steps[-1])

    @property
    def is_whole(self) -> bool:
        """Whether it has come to its end."""
        return self.reached >= self.length

    def score(self, until: int) -> Score:
        """The paper's measures of its evaluations up to a step."""
        shown = self.steps <= until
        period = self.experiment.loop.eval_period
        return score(self.steps[shown].tolist(), self.returns[shown].tolist(), period)


def read_runs(places: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs of run directories, and of folders that hold such at any depth.

    A seed that is there twice counts once: the one that has come further, or that tells its
    topology too, or that was named first.

    Returns:
      The runs, and a line for each that could not be read or was not counted.
    Raises:
      UsageError: if a place is none, or there is no run at all.
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
        raise UsageError(notes[0] if notes else f"{where} holds no run")
    return sorted(runs.values(), key=lambda run: (run.method.order, run.length, run.seed)), notes


def _add(runs: dict[Any, Run], run: Run, notes: list[str]) -> None:
    """Counts a run, unless its seed is there already and has come as far."""
    key = (run.method, run.length, run.seed)
    other = runs.setdefault(key, run)
    if other is run:
        return
    kept, left = (run, other) if _richness(run) > _richness(other) else (other, run)
    runs[key] = kept
    if not _is_copy(kept, left):
        notes.append(
            f"{left.directory} is not counted: {kept.directory} has the same settings and seed "
            f"{left.seed}, with other returns"
        )


def _richness(run: Run) -> tuple[int, bool]:
    """How far a run has come, and whether it has more than its evaluations."""
    return run.reached, (run.directory / FILES["topology"]).exists()


def explain(error: Exception) -> str:
    """An error of reading, in one line; of a name that is missing Python tells the name alone."""
    told = " ".join(str(error).split())
    return f"{told} is missing" if isinstance(error, KeyError) else told


def read_table(path: Path) -> list[dict[str, str]]:
    """As `read_rows`; none if there is no file."""
    return read_rows(path) if path.exists() else []


def _find(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        raise UsageError(f"{place} is no directory: name run directories, or folders of such")
    for path in sorted(place.rglob("config.json")):
        inside = [parent for parent in path.parents if place in parent.parents]
        if not any(map(_is_of_a_run, inside)):
            yield path.parent


def _is_of_a_run(directory: Path) -> bool:
    return directory.name in _OF_A_RUN and (directory.parent / "config.json").exists()


def _read(directory: Path, notes: list[str]) -> Iterator[Run]:
    """The members of one run directory that have an evaluation; notes those that broke down."""
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
        # From where a sweep's member is frozen on it has no returns.
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
    """The settings of one member of a run; those of a sweep differ in what `varied` names."""
    varied = config.get("varied") or {}
    own = {name: values[place] for name, values in varied.items()}
    alone = replace(experiment, agent=override(experiment.agent, own))
    return narrow(config["algos"][place], alone) if "algos" in config else alone


def _method(config: dict[str, Any], experiment: Experiment) -> Method:
    """The method that a run is of: its names, and each setting that is not its preset's."""
    plain = resolve(
        experiment.env,
        experiment.algo,
        preset=experiment.preset,
        env_preset=experiment.env_preset,
        backend=experiment.backend,
        settings={"steps": experiment.loop.steps},
    )
    changed = differences(experiment, plain, besides=_NOT_A_CHANGE)
    changes = {name: freeze(value) for name, value in changed.items()}
    if policy := config.get("initial_policy"):
        # On another machine a policy of the same training has another content.
        changes["initial_policy"] = (policy["algo"], policy["preset"], policy["env_step"])
    return Method(
        experiment.env,
        experiment.algo,
        experiment.preset,
        experiment.env_preset,
        experiment.backend,
        tuple(sorted(changes.items())),
    )


def _is_copy(one: Run, other: Run) -> bool:
    """Whether the shorter is the longer's beginning; a collected run has seven digits."""
    common = min(len(one.steps), len(other.steps))
    return np.array_equal(one.steps[:common], other.steps[:common]) and np.allclose(
        one.returns[:common], other.returns[:common], rtol=1e-6, atol=1e-6
    )
