"""What tells methods apart, and puts the seeds of one together."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dsrl_jax.config.presets import ALGORITHMS
from dsrl_jax.config.tasks import PAPER_NAMES, task_of
from experiments.report.statistics import Sample, describe

if TYPE_CHECKING:
    from experiments.report.read import Run

# The same colour for the same method everywhere; distinguishable to the colour-blind (Okabe, Ito).
COLORS = {
    "ds_td3": "#D55E00",
    "static_td3": "#009E73",
    "td3": "#0072B2",
    "ds_sac": "#CC79A7",
    "static_sac": "#E69F00",
    "sac": "#56B4E9",
}
LABELS = {
    "ds_td3": "DS-TD3",
    "static_td3": "Static-TD3",
    "td3": "TD3",
    "ds_sac": "DS-SAC",
    "static_sac": "Static-SAC",
    "sac": "SAC",
}

PAPER_TASKS = tuple(PAPER_NAMES.values())

Changes = tuple[tuple[str, Any], ...]

_SHORT = {"adaptation_period": "e", "lambda1": "λ1", "lambda2": "λ2", "drop_fraction": "η"}


class Method(NamedTuple):
    """A method on a task: everything that decides what a run computes, but its seed and length."""

    env: str
    algo: str
    preset: str
    env_preset: str
    backend: str
    changes: Changes  # settings that differ from the preset's, by name

    @property
    def task(self) -> str:
        """The environment without its version; one of another package is a task of its own."""
        return self.env if ":" in self.env else task_of(self.env)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts methods as the paper's tables do."""
        place = PAPER_TASKS.index(self.task) if self.task in PAPER_TASKS else len(PAPER_TASKS)
        algo = list(ALGORITHMS).index(self.algo)
        changes = [
            (name, float(value) if isinstance(value, int | float) else 0.0, str(value))
            for name, value in self.changes
        ]
        return place, self.where, algo, self.preset != "paper", self.preset, changes

    @property
    def where(self) -> str:
        """The environment with what its numbers depend on."""
        notes = [] if self.env_preset == "v5" else [f"preset {self.env_preset}"]
        notes += [] if self.backend == "gymnasium" else [self.backend]
        return self.env + (f" ({', '.join(notes)})" if notes else "")

    @property
    def label(self) -> str:
        """A name for people; the environment is not in it."""
        notes = [] if self.preset == "paper" else [self.preset]
        notes += [_tell(name, value) for name, value in self.changes]
        return LABELS[self.algo] + (f" ({', '.join(notes)})" if notes else "")

    @property
    def color(self) -> str:
        """The same for a method everywhere, whatever its settings."""
        return COLORS[self.algo]


class Group(NamedTuple):
    """The seeds of a method that shall have the same length.

    Where some have come to their end, figures are of those; else of all that have not broken down,
    up to the step that these have reached.
    """

    method: Method
    length: int
    runs: tuple["Run", ...]  # every one, by seed

    @property
    def counted(self) -> tuple["Run", ...]:
        """Those that the figures are of."""
        sound = [run for run in self.runs if not run.broke_down]
        return tuple(run for run in sound if run.is_whole) or tuple(sound) or self.runs

    @property
    def broken(self) -> int:
        """How many broke down, which figures of the others do not tell."""
        return sum(run.broke_down for run in self.runs)

    @property
    def reached(self) -> int:
        """The step that the figures are of."""
        return min(min(run.reached for run in self.counted), self.length)

    @property
    def is_whole(self) -> bool:
        """Whether a seed has come to its end."""
        return self.reached >= self.length

    def values(self, measure: str) -> np.ndarray:
        """A measure of `metrics.Score` by its name, an entry a seed."""
        return np.array([getattr(run.score(self.reached), measure) for run in self.counted])

    def sample(self, measure: str) -> Sample:
        """Mean and deviation of a measure over the seeds."""
        return describe(self.values(measure))

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps that all seeds were evaluated at, and their returns `[seeds, steps]`."""
        runs = self.counted
        common = sorted(set.intersection(*(set(run.steps.tolist()) for run in runs)))
        kept = np.array([step for step in common if step <= self.reached])
        return kept, np.array([run.returns[np.isin(run.steps, kept)] for run in runs])


def group(runs: Iterable["Run"]) -> list[Group]:
    """All runs by method and length, in the paper's order."""
    found: dict[tuple[Method, int], list[Run]] = {}
    for run in runs:
        found.setdefault((run.method, run.length), []).append(run)
    groups = [Group(method, length, tuple(seeds)) for (method, length), seeds in found.items()]
    return sorted(groups, key=lambda group: (group.method.order, group.length))


def freeze(value: Any) -> Any:
    """A setting's value as one that can be a key."""
    return tuple(map(freeze, value)) if isinstance(value, list) else value


def _tell(name: str, value: Any) -> str:
    if name == "initial_policy":
        return f"from a policy of {value[2]:,} steps"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{_SHORT.get(name, name)} = {shown}"
