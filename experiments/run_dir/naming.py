"""What runs are called by: the settings that are not their preset's. Needs no JAX."""

import hashlib
import json
from collections.abc import Container
from typing import Any

from dsrl_jax.config.presets import Experiment
from dsrl_jax.config.to_json import describe


def differences(
    experiment: Experiment, plain: Experiment, besides: Container[str]
) -> dict[str, Any]:
    """The settings of an experiment that are not those of `plain`, by name.

    One that `plain` has not counts as None there.

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
    """Six hexadecimal digits by which names differ where settings do."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:6]


def as_name(env: str) -> str:
    """An environment's id in the name of a directory."""
    return env.replace(":", "-").replace("/", "-").lower()
