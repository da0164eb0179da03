"""Plans the processes that compute what is missing: run directories and command lines."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.config.to_json import describe
from experiments.cli.values import format_value
from experiments.paper.existing_runs import FROM_POLICY, OF_POLICY, ExistingRun, best_run
from experiments.paper.required_runs import RequiredRun
from experiments.run_dir.directory import default_directory, differences
from experiments.run_dir.state import checkpoints_of

# The flags that name an experiment; those with these values are left out.
_NAMES = ("env", "env_preset", "backend", "algo", "preset")
_DEFAULTS = {"env_preset": "v5", "backend": "gymnasium", "preset": "paper"}


class Machine(NamedTuple):
    """How this machine computes runs.

    runs: the folder of the run directories
    flags: of experiments.run, the same for all runs
    together: whether new seeds of one variant are members of one program
    """

    runs: Path
    flags: tuple[str, ...] = ()
    together: bool = False


class Task(NamedTuple):
    """One process of experiments.run."""

    directory: Path
    arguments: tuple[str, ...]
    experiment: Experiment
    steps: int
    reached: int  # steps that are done
    needs: Path | None = None  # the directory of a policy that has to be trained first
    label: str = ""  # its name in the figure

    @property
    def title(self) -> str:
        """A name for people."""
        name = self.directory.name
        return f"{name} ({self.label})" if self.label else name

    @property
    def kind(self) -> tuple[str, str]:
        """Environment and algorithm, which decide its rate."""
        return self.experiment.env, self.experiment.algo


class Match(NamedTuple):
    """A required run and the existing one that counts for it, if any."""

    required: RequiredRun
    existing: ExistingRun | None

    @property
    def is_done(self) -> bool:
        """Whether all its evaluations exist."""
        steps = self.required.experiment.loop.steps
        return self.existing is not None and self.existing.reached >= steps


def match_runs(required: Sequence[RequiredRun], existing: Sequence[ExistingRun]) -> list[Match]:
    """Returns a match for each required run; figures that share a run share its match."""
    best: dict[str, ExistingRun | None] = {}
    matches = []
    for run in required:
        key = _identity(run.experiment)
        if key not in best:
            best[key] = best_run(existing, run.experiment, run.experiment.loop.steps)
        matches.append(Match(run, best[key]))
    return matches


def missing_tasks(
    matches: Sequence[Match], existing: Sequence[ExistingRun], machine: Machine
) -> list[Task]:
    """Returns what is left to compute, each once, in order; policies before their users."""
    tasks: dict[Path, Task] = {}
    for group in _grouped([match for match in matches if not match.is_done], machine.together):
        required, run = group[0]
        experiment, policy = required.experiment, required.policy
        needs = None
        if policy:
            task = _policy_task(policy, existing, machine)
            needs = task.directory
            if task.reached < task.steps:
                tasks.setdefault(needs, task)
        seeds = run.seeds if run else tuple(each.required.experiment.seeds[0] for each in group)
        # A run that is already longer than required cannot be made shorter.
        steps = max(experiment.loop.steps, int(run.config["steps"]) if run else 0)
        directory = run.directory if run else _new_directory(experiment, seeds, machine, policy)
        reached = run.reached if run else 0
        task = _task(experiment, directory, seeds, steps, reached, machine, needs)
        tasks.setdefault(directory, task._replace(label=required.variant.label))
    return list(tasks.values())


def _grouped(matches: Sequence[Match], together: bool) -> list[list[Match]]:
    """Groups matches by process: by directory, and `together` all new seeds of a variant."""
    groups: dict[Any, list[Match]] = {}
    for match in matches:
        experiment = match.required.experiment
        shared = dataclasses.replace(experiment, seeds=(0,)) if together else experiment
        key: Any = match.existing.directory if match.existing else _identity(shared)
        group = groups.setdefault(key, [])
        if experiment.seeds not in [each.required.experiment.seeds for each in group]:
            group.append(match)
    return list(groups.values())


def _policy_task(policy: Experiment, existing: Sequence[ExistingRun], machine: Machine) -> Task:
    """Returns the training of a policy on this machine, of exactly its length."""
    steps = policy.loop.steps
    directory = _new_directory(policy, policy.seeds, machine)
    directory = directory.with_name(f"{directory.name}{OF_POLICY}{steps}")
    # The checkpoints contain the policy. Without them it has to be trained again, and
    # experiments.run then asks to remove its directory first.
    has_policy = checkpoints_of(directory).exists()
    reached = sum(run.reached for run in existing if run.directory == directory and has_policy)
    task = _task(policy, directory, policy.seeds, steps, reached, machine)
    return task._replace(label="a policy to start from")


def _new_directory(
    experiment: Experiment,
    seeds: tuple[int, ...],
    machine: Machine,
    policy: Experiment | None = None,
) -> Path:
    """Returns the directory that experiments.run would choose, under `machine.runs`.

    If the run needs a policy, the name has its length, as its content may not be known yet.
    """
    plain = dataclasses.replace(experiment, seeds=seeds, initial_policy=None)
    name = default_directory(plain).name
    return machine.runs / (f"{name}{FROM_POLICY}{policy.loop.steps}" if policy else name)


def _task(
    experiment: Experiment,
    directory: Path,
    seeds: tuple[int, ...],
    steps: int,
    reached: int,
    machine: Machine,
    needs: Path | None = None,
) -> Task:
    plain = resolve(experiment.env, experiment.algo, preset=experiment.preset)
    changed = differences(experiment, plain, ("seeds", "steps", "initial_policy", *_NAMES))
    named = {name: getattr(experiment, name) for name in _NAMES}
    settings = {name: value for name, value in named.items() if _DEFAULTS.get(name) != value}
    settings |= {name: tuple(v) if isinstance(v, list) else v for name, v in changed.items()}
    arguments = (
        *(f"--{name}={format_value(value)}" for name, value in settings.items()),
        f"--seeds={','.join(map(str, seeds))}",
        f"--steps={steps}",
        *machine.flags,
        f"--run_dir={directory}",
        *([f"--initial_policy={needs}"] if needs else []),
    )
    return Task(directory, arguments, experiment, steps, reached, needs)


def _identity(experiment: Experiment) -> str:
    """Returns the same text for experiments that compute the same."""
    return repr(sorted(describe(experiment).items(), key=lambda item: item[0]))
