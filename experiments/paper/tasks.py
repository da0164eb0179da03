"""What is left to compute, as processes: which run directory, by which command line."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.config.to_json import describe
from experiments.cli.values import format_value
from experiments.paper.found import FROM_POLICY, OF_POLICY, Found, best_of
from experiments.paper.wanted import Wanted
from experiments.run_dir.directory import default_directory, differences
from experiments.run_dir.state import checkpoints_of


class Machine(NamedTuple):
    """How runs are computed here.

    runs: where their directories are
    flags: of experiments.run, the same for all
    together: whether new seeds of one variant are members of one program
    """

    runs: Path
    flags: tuple[str, ...] = ()
    together: bool = False


class Task(NamedTuple):
    """One process of experiments.run."""

    directory: Path
    arguments: tuple[str, ...]
    env: str
    algo: str
    steps: int
    reached: int  # steps of it that are done
    steps_before_updates: int
    needs: Path | None = None  # the run directory of a trained policy that has to be whole before
    label: str = ""  # what it is in its figure

    @property
    def name(self) -> str:
        """Its directory's."""
        return self.directory.name

    @property
    def title(self) -> str:
        """As it is told."""
        return f"{self.name} ({self.label})" if self.label else self.name


class Located(NamedTuple):
    """A run that is wanted, and the one that there is of it, if any."""

    wanted: Wanted
    found: Found | None

    @property
    def is_done(self) -> bool:
        """Whether all its evaluations are there."""
        return bool(self.found and self.found.reached >= self.wanted.experiment.loop.steps)


def locate(wanted: Sequence[Wanted], found: Sequence[Found]) -> list[Located]:
    """What there is of each run; a run that several figures share is told for each."""
    known: dict[str, Found | None] = {}
    located = []
    for run in wanted:
        key = _identity(run.experiment)
        if key not in known:
            known[key] = best_of(found, run.experiment, run.experiment.loop.steps)
        located.append(Located(run, known[key]))
    return located


def make_tasks(located: Sequence[Located], found: Sequence[Found], machine: Machine) -> list[Task]:
    """What is left to compute, each once, in order; a policy before those that start from it."""
    tasks: dict[Path, Task] = {}
    for group in _grouped([run for run in located if not run.is_done], machine.together):
        experiment, policy = group[0].wanted.experiment, group[0].wanted.policy
        needs = None
        if policy:
            task = _policy_task(policy, found, machine)
            needs = task.directory
            if task.reached < task.steps:
                tasks.setdefault(needs, task)
        if (run := group[0].found) is not None:
            # A run may be longer than what is wanted of it: it cannot be made shorter.
            steps = max(experiment.loop.steps, int(run.config["steps"]))
            task = _task(experiment, run.directory, run.seeds, steps, run.reached, machine, needs)
        else:
            seeds = tuple(each.wanted.experiment.seeds[0] for each in group)
            directory = _directory(experiment, seeds, machine, policy)
            task = _task(experiment, directory, seeds, experiment.loop.steps, 0, machine, needs)
        label = group[0].wanted.variant.label
        tasks.setdefault(task.directory, task._replace(label=label))
    return list(tasks.values())


def _grouped(runs: Sequence[Located], together: bool) -> list[list[Located]]:
    """Runs that one process computes: what was begun, and if asked all new seeds of a variant."""
    groups: dict[Any, list[Located]] = {}
    for run in runs:
        experiment = run.wanted.experiment
        if run.found:
            key: Any = run.found.directory
        else:
            key = _identity(dataclasses.replace(experiment, seeds=(0,)) if together else experiment)
        group = groups.setdefault(key, [])
        if experiment.seeds not in [each.wanted.experiment.seeds for each in group]:
            group.append(run)
    return list(groups.values())


def _policy_task(policy: Experiment, found: Sequence[Found], machine: Machine) -> Task:
    """The training of a policy, here and of just that length: a longer one has another policy."""
    steps = policy.loop.steps
    directory = _directory(policy, policy.seeds, machine)
    directory = directory.with_name(f"{directory.name}{OF_POLICY}{steps}")
    here = [run.reached for run in found if run.directory == directory]
    # The policy is in the checkpoints: without them it has to be trained anew, which
    # experiments.run refuses while its tables are there.
    reached = sum(here) if checkpoints_of(directory).exists() else 0
    task = _task(policy, directory, policy.seeds, steps, reached, machine)
    return task._replace(label="a policy to start from")


def _directory(
    experiment: Experiment,
    seeds: tuple[int, ...],
    machine: Machine,
    policy: Experiment | None = None,
) -> Path:
    """Where a new run goes: where experiments.run alone would put it, under `machine.runs`.

    Of a run that starts from a policy the content is not known yet; its name tells the length.
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
    arguments = [
        *_settings(experiment),
        f"--seeds={','.join(map(str, seeds))}",
        f"--steps={steps}",
        *machine.flags,
        f"--run_dir={directory}",
        *([f"--initial_policy={needs}"] if needs else []),
    ]
    return Task(
        directory,
        tuple(arguments),
        experiment.env,
        experiment.algo,
        steps,
        reached,
        experiment.loop.steps_before_updates,
        needs,
    )


def _settings(experiment: Experiment) -> list[str]:
    """The flags that name an experiment: what differs from the presets alone."""
    names = ("env", "env_preset", "backend", "algo", "preset")
    named = {name: getattr(experiment, name) for name in names}
    plain = resolve(experiment.env, experiment.algo, preset=experiment.preset)
    besides = ("seeds", "steps", "initial_policy", *names)
    changed = differences(experiment, plain, besides)
    defaults = {"env_preset": "v5", "backend": "gymnasium", "preset": "paper"}
    kept = {key: value for key, value in named.items() if defaults.get(key) != value}
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in (kept | changed).items()}
    return [f"--{key}={format_value(value)}" for key, value in values.items()]


def _identity(experiment: Experiment) -> str:
    """Equal for what is computed alike."""
    return repr(sorted(describe(experiment).items(), key=lambda item: item[0]))
