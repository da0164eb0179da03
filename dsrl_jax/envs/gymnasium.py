"""Gymnasium environments with a flat Box observation and a bounded Box action."""

import difflib
from typing import NamedTuple

import gymnasium
import numpy as np

ALIASES = {
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "walker2d": "Walker2d-v5",
    "ant": "Ant-v5",
    "humanoid": "Humanoid-v5",
}


class Sizes(NamedTuple):
    """Size of the observation, and the bounds of each dimension of the action."""

    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]


def resolve_id(name: str) -> str:
    """The Gymnasium id of a short name (halfcheetah), of an id, or of "package.module:Id-v0".

    Raises:
      ValueError: if there is no such environment; names the nearest ones.
    """
    if name in ALIASES:
        return ALIASES[name]
    if ":" in name or name in gymnasium.registry:
        return name
    known = [*ALIASES, *gymnasium.registry]
    folded = {known_name.lower(): known_name for known_name in known}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(
        f"env must be one of {', '.join(ALIASES)}, a Gymnasium id, or package.module:Id-v0, "
        f"got {name!r}{hint}"
    )


def make(env_id: str) -> gymnasium.Env:
    """Makes an environment and checks that an agent can act in it.

    Raises:
      ValueError: if it cannot be made, or its spaces are not flat bounded boxes.
    """
    try:
        environment = gymnasium.make(env_id, disable_env_checker=True)
    except Exception as error:  # The id may name anyone's module, and that may raise anything.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"env {env_id!r} cannot be made: {reason}") from error
    read_sizes(env_id, environment)
    return environment


def read_sizes(env_id: str, environment: gymnasium.Env) -> Sizes:
    """The sizes of an environment's spaces.

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
