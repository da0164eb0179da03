"""Resolves the runs that the figures require. Needs no JAX."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dsrl_jax.config.presets import ALGORITHMS, Experiment, InitialPolicy, check_choice, resolve
from dsrl_jax.config.settings import check_seeds
from dsrl_jax.envs import catalog
from experiments.paper.figures import FIGURES, GROUPS, POLICY_SEED, SEEDS, STEPS, TASKS, Variant


class Selection(NamedTuple):
    """The part of the figures that is run, and the settings that replace the paper's."""

    tasks: tuple[str, ...] = TASKS
    algos: tuple[str, ...] = tuple(ALGORITHMS)
    seeds: tuple[int, ...] = SEEDS
    env_preset: str = "v5"
    backend: str = "gymnasium"
    settings: Mapping[str, Any] = MappingProxyType({})  # of the loop, `steps` among them


class RequiredRun(NamedTuple):
    """One run of a figure: an experiment with one seed.

    policy: trains the policy that fills the first buffer, or None; `experiment.initial_policy` then
      has an empty hash, as the policy's content is unknown before it is trained
    """

    figure: str
    variant: Variant
    task: str
    experiment: Experiment
    policy: Experiment | None = None


def select_figures(names: Iterable[str]) -> tuple[str, ...]:
    """Resolves names of figures and of groups to figures, without duplicates.

    Raises:
      ValueError: for an unknown name.
    """
    figures: dict[str, None] = {}
    for name in names:
        check_choice("a figure", name, [*FIGURES, *GROUPS])
        figures |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(figures)


def required_runs(figures: Iterable[str], selection: Selection) -> list[RequiredRun]:
    """Returns the selected runs, ordered by figure, task, seed and method.

    In this order methods can be compared early.

    Raises:
      ValueError: for an unknown name or a bad setting, or if the selection leaves no run.
    """
    for task in selection.tasks:
        check_choice("--envs", task, TASKS)
    for algo in selection.algos:
        check_choice("--algos", algo, ALGORITHMS)
    check_seeds(selection.seeds)
    with_runs = [name for name in figures if FIGURES[name].variants]
    required = [
        _required_run(name, variant, task, seed, selection)
        for name in with_runs
        for task in FIGURES[name].tasks
        if task in selection.tasks
        for seed in selection.seeds
        for variant in FIGURES[name].variants
        if variant.algo in selection.algos
    ]
    if with_runs and not required:
        contents = []
        for name in with_runs:
            algos = dict.fromkeys(variant.algo for variant in FIGURES[name].variants)
            contents.append(f"{name} has {', '.join(algos)} on {', '.join(FIGURES[name].tasks)}")
        raise ValueError(f"--envs and --algos leave no run: {'; '.join(contents)}")
    return required


def _required_run(
    figure: str, variant: Variant, task: str, seed: int, selection: Selection
) -> RequiredRun:
    experiment = _resolve(variant, task, seed, selection)
    if variant.policy_steps is None:
        return RequiredRun(figure, variant, task, experiment)
    # A shorter run starts from a policy that is trained for the same share of its steps.
    share = variant.policy_steps / STEPS
    steps = max(1, round(share * selection.settings.get("steps", STEPS)))
    shorter = selection._replace(settings={**selection.settings, "steps": steps})
    policy = _resolve(variant, task, POLICY_SEED, shorter)
    initial = InitialPolicy(variant.algo, variant.preset, POLICY_SEED, steps, sha256="")
    experiment = dataclasses.replace(experiment, initial_policy=initial)
    return RequiredRun(figure, variant, task, experiment, policy)


def _resolve(variant: Variant, task: str, seed: int, selection: Selection) -> Experiment:
    return resolve(
        catalog.resolve_id(task, selection.env_preset, selection.backend),
        variant.algo,
        preset=variant.preset,
        env_preset=selection.env_preset,
        backend=selection.backend,
        seeds=seed,
        settings={**variant.settings, **selection.settings},
    )
