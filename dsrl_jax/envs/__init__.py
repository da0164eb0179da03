"""Environments by name, preset and back-end; `episodes` runs Brax's on the device."""

from dsrl_jax.envs.catalog import BACKENDS, look_up_sizes, make, resolve_id
from dsrl_jax.envs.guard import EnvironmentFailure, Guarded
from dsrl_jax.envs.gymnasium import ENV_PRESETS, Sizes, read_sizes

__all__ = [
    "BACKENDS",
    "ENV_PRESETS",
    "EnvironmentFailure",
    "Guarded",
    "Sizes",
    "look_up_sizes",
    "make",
    "read_sizes",
    "resolve_id",
]
