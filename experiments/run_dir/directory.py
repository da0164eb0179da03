"""Names run directories, and checks whether one may be used. Needs no JAX."""

import hashlib
import json
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.config.to_json import describe, read_description
from dsrl_jax.training.checkpoints.checksums import UNFINISHED
from experiments.run_dir.state import has_lost_its_checkpoints

# Settings that a continued run may change: its length, and how often it saves.
MAY_CHANGE = ("steps", "checkpoint_period")

# The output of a run that another command started; see experiments.paper.
LOG = "output.log"

# The files that a run leaves if it is killed before it writes config.json.
_OF_A_START = {"lock", f"config.json{UNFINISHED}", LOG}

# Entries that the config.json of a plain run leaves out.
_LEFT_OUT: dict[str, Any] = {"varied": {}, "freezes": False}


class DirectoryError(ValueError):
    """A run directory that cannot be used; the message is one line."""


def default_directory(experiment: Experiment) -> Path:
    """Returns runs/{env}-{algo}-s{seeds}, and a hash of what differs from the preset's defaults."""
    seeds = experiment.seeds
    is_range = seeds == tuple(range(seeds[0], seeds[-1] + 1))
    name = f"{seeds[0]}-{seeds[-1]}" if is_range and len(seeds) > 1 else "_".join(map(str, seeds))
    plain = resolve(experiment.env, experiment.algo)
    changed = differences(experiment, plain, besides=("seeds", *MAY_CHANGE))
    end = f"-{short_hash(changed)}" if changed else ""
    return Path("runs") / f"{as_name(experiment.env)}-{experiment.algo}-s{name}{end}"


def differences(
    experiment: Experiment, plain: Experiment, besides: Container[str]
) -> dict[str, Any]:
    """Returns the settings in which an experiment differs from `plain`, by name.

    A setting that `plain` does not have counts as None there.

    Args:
      besides: names of settings that do not count.
    """
    usual = describe(plain)
    return {
        name: value
        for name, value in describe(experiment).items()
        if name not in besides and value != usual.get(name)
    }


def short_hash(settings: dict[str, Any]) -> str:
    """Returns six hexadecimal digits that identify settings in a name."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:6]


def as_name(env: str) -> str:
    """Returns an environment's id as part of a directory's name."""
    return env.replace(":", "-").replace("/", "-").lower()


def check_directory(directory: Path, experiment: Experiment) -> dict[str, Any] | None:
    """Returns the config.json of this run in the directory; None if the directory is free.

    Raises:
      DirectoryError: if it has another run or other files.
    """
    previous = read_config(directory)
    if previous is None:
        return None
    there = with_defaults(previous, experiment)
    differing = [
        f"{key} is {there[key]!r} there and {value!r} here"
        for key, value in describe_whole(experiment).items()
        if there[key] != value and key not in MAY_CHANGE
    ]
    if differing:
        raise DirectoryError(
            f"{directory} contains another run: {'; '.join(differing)}; "
            "choose another --run_dir or the same settings"
        )
    if previous["steps"] > experiment.loop.steps:
        raise DirectoryError(
            f"{directory} contains a run of {previous['steps']:,} steps, got steps "
            f"{experiment.loop.steps:,}; they can be raised, not lowered; "
            "choose another --run_dir, or remove it"
        )
    if has_lost_its_checkpoints(directory, tuple(previous["seeds"]), previous["steps"]):
        raise DirectoryError(
            f"{directory} contains a finished run without its checkpoints: it cannot "
            "continue; remove it to train again, or choose another --run_dir"
        )
    return previous


def describe_whole(experiment: Experiment) -> dict[str, Any]:
    """Returns an experiment's description with the entries that a plain run's leaves out."""
    return _LEFT_OUT | describe(experiment)


def with_defaults(config: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Returns a config.json with defaults for the settings that are newer than it."""
    plain = replace(
        experiment,
        agent=type(experiment.agent)(),
        loop=LoopConfig(),
        brax=BraxConfig() if experiment.brax else None,
        initial_policy=None,
        varied={},
        freeze_nonfinite=False,
    )
    return describe_whole(plain) | config


def read_config(directory: Path) -> dict[str, Any] | None:
    """Reads config.json; returns None if the directory is free.

    Raises:
      DirectoryError: if it cannot be read, or the directory has other files.
    """
    path = directory / "config.json"
    try:
        if path.exists():
            return read_description(path)
        entries = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    except ValueError as error:
        raise DirectoryError(f"{error}; choose another --run_dir") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DirectoryError(
            f"run_dir {str(directory)!r} cannot be read: {reason}; choose another --run_dir"
        ) from error
    if entries - _OF_A_START:
        raise DirectoryError(f"{directory} is no run directory and not empty; choose another")
    return None
