"""Experiments in config.json: writes their description and reads it back."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl_jax.config.agents import ALGORITHMS
from dsrl_jax.config.checks import validate
from dsrl_jax.config.experiment import Experiment, InitialPolicy
from dsrl_jax.config.loop import FORMAT, BraxConfig, LoopConfig
from dsrl_jax.config.settings import check_choice, check_limits, flatten, override

# Every config.json has these entries in addition to the settings.
_NAMES = ("env", "env_preset", "backend", "algo", "preset", "seeds")


def describe(experiment: Experiment) -> dict[str, Any]:
    """Returns a flat dict of everything that decides what a run computes, ready for JSON."""
    brax = flatten(experiment.brax) if experiment.brax else {}
    settings = brax | flatten(experiment.loop) | flatten(experiment.agent)
    initial = experiment.initial_policy
    policy = dataclasses.asdict(initial) if initial else None
    if policy:
        del policy["directory"]  # A policy is identified by its content.
    varied = {name: list(values) for name, values in experiment.varied.items()}
    return {
        "env": experiment.env,
        "env_preset": experiment.env_preset,
        "backend": experiment.backend,
        "algo": experiment.algo,
        "preset": experiment.preset,
        "seeds": list(experiment.seeds),
        "initial_policy": policy,
        **{key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()},
        **({"varied": varied} if varied else {}),
        **({"freezes": True} if experiment.freeze_nonfinite else {}),
    }


def from_description(description: Mapping[str, Any]) -> Experiment:
    """Returns the experiment that a config.json describes; missing settings get their defaults.

    Raises:
      ValueError: if a name is missing or unknown, or a value is not allowed.
    """
    if missing := [name for name in _NAMES if name not in description]:
        raise ValueError(f"{missing[0]} is missing")
    check_choice("algo", description["algo"], ALGORITHMS)
    seeds = description["seeds"]
    if not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise ValueError(f"seeds must be whole numbers, got {seeds!r}")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in description.items()}
    loop = override(LoopConfig(), values)
    check_limits(loop)
    brax = override(BraxConfig(), values) if description["backend"] == "brax" else None
    if brax:
        check_limits(brax)
    policy = description.get("initial_policy")
    try:
        initial_policy = InitialPolicy(**policy) if policy else None
    except TypeError as error:
        raise ValueError(f"initial_policy cannot be read: {error}") from error
    names: dict[str, Any] = {name: values[name] for name in _NAMES}
    experiment = Experiment(
        **names,
        agent=override(ALGORITHMS[description["algo"]].config(), values),
        loop=loop,
        brax=brax,
        initial_policy=initial_policy,
        varied={name: tuple(each) for name, each in description.get("varied", {}).items()},
        freeze_nonfinite=description.get("freezes", False),
    )
    for member in range(len(seeds)):
        validate(experiment.agent_of(member))
    return experiment


def read_description(path: Path) -> dict[str, Any]:
    """Reads a config.json.

    Raises:
      ValueError: if it is damaged or has another format.
      OSError: if it cannot be opened.
    """
    try:
        description = dict(json.loads(path.read_text()))
        version = description.get("format", 0)
        description["steps"] = int(description["steps"])
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())})") from error
    if version != FORMAT:
        raise ValueError(f"{path} has format {version}, this version reads format {FORMAT}")
    return description


def read_experiment(directory: Path) -> tuple[Experiment, dict[str, Any]]:
    """Reads the experiment of a run directory, and the whole content of its config.json.

    Raises:
      ValueError: if there is no such run, or its config.json is damaged.
    """
    path = directory / "config.json"
    try:
        description = read_description(path)
    except OSError as error:
        reason = "it has no config.json" if directory.is_dir() else error.strerror
        raise ValueError(f"{directory} is no run directory: {reason}") from None
    try:
        return from_description(description), description
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error
