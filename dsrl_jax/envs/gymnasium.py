"""Gymnasium environments with a flat Box observation and a bounded Box action."""

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from dsrl_jax.envs import v3

# Versions that a short name may mean: the current one, or the nearest to the paper's.
ENV_PRESETS = ("v5", "v3")

ALIASES = {
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "walker2d": "Walker2d-v5",
    "ant": "Ant-v5",
    "humanoid": "Humanoid-v5",
}


class Sizes(NamedTuple):
    """Size of the observation, and bounds of each dimension of the action."""

    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]


def resolve_id(name: str, env_preset: str = "v5") -> str:
    """Returns the Gymnasium id of a short name (halfcheetah), an id, or "package.module:Id-v0".

    Args:
      env_preset: the version that a short name means: "v5", or "v3" for the nearest to the paper
        (see `v3`), which has only the short names.

    Raises:
      ValueError: if there is no such environment; names the nearest ones.
    """
    check_name(name, env_preset)
    aliases = v3.ALIASES if env_preset == "v3" else ALIASES
    if name in aliases:
        return aliases[name]
    if ":" in name or name in gymnasium.registry:
        return name
    raise ValueError(
        f"env must be one of {', '.join(ALIASES)}, a Gymnasium id, or package.module:Id-v0, "
        f"got {name!r}{did_you_mean(name, [*ALIASES, *gymnasium.registry])}"
    )


def make(env_id: str, env_preset: str = "v5", render_mode: str | None = None) -> gymnasium.Env:
    """Makes an environment and checks that an agent can act in it.

    Args:
      env_id: as returned by `resolve_id` for the same preset.
      render_mode: Gymnasium's; None renders nothing.

    Raises:
      ValueError: if it cannot be made, or its spaces are not flat bounded boxes.
    """
    _check_preset(env_preset)
    in_v3 = env_preset == "v3"
    if in_v3 and env_id not in v3.ALIASES.values():
        allowed = ", ".join(v3.ALIASES.values())
        raise ValueError(f"with env_preset v3, env id must be one of {allowed}, got {env_id!r}")
    try:
        # Environments without rendering need not accept the argument.
        rendering = {"render_mode": render_mode} if render_mode else {}
        options: dict[str, Any] = {"disable_env_checker": True} | rendering
        environment = v3.make(env_id, **options) if in_v3 else gymnasium.make(env_id, **options)
    except Exception as error:  # The id may name any module, which may raise any error.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"env {env_id!r} cannot be made: {reason}") from error
    read_sizes(env_id, environment)
    return environment


def check_name(name: str, env_preset: str) -> None:
    """Checks that a preset exists, and that the preset v3 has the name.

    Raises:
      ValueError: names the allowed values and the given value.
    """
    _check_preset(env_preset)
    if env_preset == "v3" and name not in ALIASES:
        raise ValueError(
            f"with env_preset v3, env must be one of {', '.join(ALIASES)}, got {name!r}"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean x or y?" with the nearest known names, ignoring case, or ""."""
    folded = {known_name.lower(): known_name for known_name in known}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _check_preset(env_preset: str) -> None:
    if env_preset not in ENV_PRESETS:
        allowed = ", ".join(ENV_PRESETS)
        raise ValueError(f"env_preset must be one of {allowed}, got {env_preset!r}")


def read_sizes(env_id: str, environment: gymnasium.Env) -> Sizes:
    """Returns the sizes of an environment's spaces.

    Raises:
      ValueError: unless the observation is a flat Box and the action a flat bounded Box.
    """
    observation, action = environment.observation_space, environment.action_space
    box = gymnasium.spaces.Box
    if not isinstance(observation, box) or len(observation.shape) != 1:
        raise ValueError(
            f"env {env_id!r}: the observation must be a flat Box, got {_in_one_line(observation)}"
        )
    if not isinstance(action, box) or len(action.shape) != 1:
        raise ValueError(
            f"env {env_id!r}: the action must be a flat Box, got {_in_one_line(action)}"
        )
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise ValueError(f"env {env_id!r}: the action must be bounded, got {_in_one_line(action)}")
    low, high = action.low.astype(float).tolist(), action.high.astype(float).tolist()
    return Sizes(observation.shape[0], tuple(low), tuple(high))


def _in_one_line(space: gymnasium.Space) -> str:
    return " ".join(str(space).split())
