"""An experiment as config.json has it, and back. Needs no JAX."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl_jax.config import agents as agent_config
from dsrl_jax.config import loop as loop_config
from dsrl_jax.config.loop import FORMAT, BraxConfig, LoopConfig
from dsrl_jax.config.presets import ALGORITHMS, Experiment, InitialPolicy, check_choice
from dsrl_jax.config.settings import flatten, override


def describe(experiment: Experiment) -> dict[str, Any]:
    """Everything that decides what a run computes, flat, as it stands in config.json."""
    brax = flatten(experiment.brax) if experiment.brax else {}
    settings = brax | flatten(experiment.loop) | flatten(experiment.agent)
    varied = {name: list(values) for name, values in experiment.varied.items()}
    return {
        "env": experiment.env,
        "env_preset": experiment.env_preset,
        "backend": experiment.backend,
        "algo": experiment.algo,
        "preset": experiment.preset,
        "seeds": list(experiment.seeds),
        "initial_policy": _describe_policy(experiment.initial_policy),
        **{key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()},
        **({"varied": varied} if varied else {}),
        **({"freezes": True} if experiment.freeze_nonfinite else {}),
    }


def _describe_policy(policy: InitialPolicy | None) -> dict[str, Any] | None:
    """Its content, not where it was read."""
    if policy is None:
        return None
    content = dataclasses.asdict(policy)
    del content["directory"]
    return content


def from_description(held: Mapping[str, Any]) -> Experiment:
    """The experiment that a config.json describes; what it does not name has its default.

    Raises:
      ValueError: if a name is missing or unknown, or a value is not allowed.
    """
    names = ("env", "env_preset", "backend", "algo", "preset", "seeds")
    if missing := [name for name in names if name not in held]:
        raise ValueError(f"{missing[0]} is missing")
    check_choice("algo", held["algo"], ALGORITHMS)
    config, _ = ALGORITHMS[held["algo"]]
    if not held["seeds"] or not all(isinstance(seed, int) for seed in held["seeds"]):
        raise ValueError(f"seeds must be whole numbers, got {held['seeds']!r}")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in held.items()}
    agent, loop = override(config(), values), override(LoopConfig(), values)
    agent_config.validate(agent)
    loop_config.validate(loop)
    brax = override(BraxConfig(), values) if held["backend"] == "brax" else None
    if brax:
        loop_config.validate(brax)
    named: dict[str, Any] = {name: values[name] for name in names}
    varied = {name: tuple(found) for name, found in held.get("varied", {}).items()}
    origin = held.get("initial_policy")
    try:
        policy = InitialPolicy(**origin) if origin else None
    except TypeError as error:
        raise ValueError(f"initial_policy cannot be read: {error}") from error
    experiment = Experiment(
        **named,
        agent=agent,
        loop=loop,
        brax=brax,
        initial_policy=policy,
        varied=varied,
        freeze_nonfinite=held.get("freezes", False),
    )
    for member in range(len(experiment.seeds)):
        agent_config.validate(experiment.agent_of(member))
    return experiment


def read_description(path: Path) -> dict[str, Any]:
    """What a config.json holds.

    Raises:
      ValueError: if it is damaged, or of another format.
      OSError: if it cannot be opened.
    """
    try:
        held = dict(json.loads(path.read_text()))
        version = held.get("format", 0)
        held["steps"] = int(held["steps"])
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())})") from error
    if version != FORMAT:
        raise ValueError(f"{path} has format {version}, this version reads format {FORMAT}")
    return held


def read_experiment(directory: Path) -> tuple[Experiment, dict[str, Any]]:
    """What a run was trained by, and all that its config.json holds.

    Raises:
      ValueError: if there is no such run, or its config.json is damaged.
    """
    path = directory / "config.json"
    try:
        held = read_description(path)
    except OSError as error:
        reason = "it has no config.json" if directory.is_dir() else error.strerror
        raise ValueError(f"{directory} is no run directory: {reason}") from None
    try:
        return from_description(held), held
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error
