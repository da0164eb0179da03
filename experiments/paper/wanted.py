"""The runs that figures consist of, resolved. Needs no JAX."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dsrl_jax.config.presets import ALGORITHMS, Experiment, InitialPolicy, check_choice, resolve
from dsrl_jax.config.settings import check_seeds
from dsrl_jax.envs import catalog
from experiments.paper.figures import FIGURES, GROUPS, POLICY_SEED, SEEDS, STEPS, TASKS, Variant


class Choice(NamedTuple):
    """Which part of the figures is meant, and how long it is."""

    tasks: tuple[str, ...] = TASKS
    algos: tuple[str, ...] = tuple(ALGORITHMS)
    seeds: tuple[int, ...] = SEEDS
    env_preset: str = "v5"
    backend: str = "gymnasium"
    settings: Mapping[str, Any] = MappingProxyType({})  # of the loop, `steps` among them

    @property
    def steps(self) -> int:
        """Length of each run."""
        return self.settings.get("steps", STEPS)


class Wanted(NamedTuple):
    """One run of a figure: an experiment of one seed.

    policy: of agents that start from a trained policy's transitions, what that is trained by; the
      experiment then names it without its content, which is not known before
    """

    figure: str
    variant: Variant
    task: str
    experiment: Experiment
    policy: Experiment | None = None


def choose_figures(names: Iterable[str]) -> tuple[str, ...]:
    """The figures that names and names of groups mean, each once. Raises ValueError."""
    found: dict[str, None] = {}
    for name in names:
        check_choice("a figure", name, [*FIGURES, *GROUPS])
        found |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(found)


def choose_runs(figures: Iterable[str], choice: Choice) -> list[Wanted]:
    """The runs of figures, in their order: by figure, task, seed and then method.

    So that methods can be compared early on.

    Raises:
      ValueError: if a name or a setting is none, or the choice leaves nothing of all figures.
    """
    for task in choice.tasks:
        check_choice("--envs", task, TASKS)
    for algo in choice.algos:
        check_choice("--algos", algo, ALGORITHMS)
    check_seeds(choice.seeds)
    of_runs = [figure for figure in figures if FIGURES[figure].variants]
    found = [wanted for figure in of_runs for wanted in _runs_of(figure, choice)]
    if of_runs and not found:
        told = "; ".join(map(_tell, of_runs))
        raise ValueError(f"nothing is left by --envs and --algos: {told}")
    return found


def _runs_of(name: str, choice: Choice) -> list[Wanted]:
    figure = FIGURES[name]
    return [
        _resolve(name, variant, task, seed, choice)
        for task in figure.tasks
        if task in choice.tasks
        for seed in choice.seeds
        for variant in figure.variants
        if variant.algo in choice.algos
    ]


def _tell(name: str) -> str:
    figure = FIGURES[name]
    algos = dict.fromkeys(variant.algo for variant in figure.variants)
    return f"{name} is of {', '.join(algos)} on {', '.join(figure.tasks)}"


def _resolve(figure: str, variant: Variant, task: str, seed: int, choice: Choice) -> Wanted:
    experiment = _experiment(variant, task, seed, choice)
    if variant.policy_steps is None:
        return Wanted(figure, variant, task, experiment)
    # With fewer steps, the same share of them.
    steps = max(1, round(variant.policy_steps * choice.steps / STEPS))
    shorter = choice._replace(settings={**choice.settings, "steps": steps})
    policy = _experiment(variant, task, POLICY_SEED, shorter)
    named = InitialPolicy(variant.algo, variant.preset, POLICY_SEED, steps, sha256="")
    experiment = dataclasses.replace(experiment, initial_policy=named)
    return Wanted(figure, variant, task, experiment, policy)


def _experiment(variant: Variant, task: str, seed: int, choice: Choice) -> Experiment:
    return resolve(
        catalog.resolve_id(task, choice.env_preset, choice.backend),
        variant.algo,
        preset=variant.preset,
        env_preset=choice.env_preset,
        backend=choice.backend,
        seeds=seed,
        settings={**variant.settings, **choice.settings},
    )
