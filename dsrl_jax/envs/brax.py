"""Brax's environments by name, and your own with Brax's interface, both without Brax's wrappers.

`episodes.py` starts and ends their episodes. Brax takes seconds to import and imports JAX, so the
functions that need it import it.
"""

import contextlib
import importlib
import importlib.util
import os
import warnings
from typing import Any, Protocol

from dsrl_jax.envs.gymnasium import Sizes, did_you_mean

NAMES = ("ant", "halfcheetah", "hopper", "walker2d", "humanoid")


class State(Protocol):
    """The fields of a state that training reads; an environment's state is a tree with more."""

    obs: Any  # [observation_size]
    reward: Any  # []
    done: Any  # [], 1 if the episode terminated


class Environment(Protocol):
    """Brax's interface: one unbatched environment as pure functions; actions are in [-1, 1]."""

    action_size: int

    def reset(self, rng: Any) -> Any:
        """Samples a start state with a key."""

    def step(self, state: Any, action: Any) -> Any:
        """Returns the next state, with the same structure, shapes and dtypes."""


def resolve_id(name: str, env_preset: str = "v5") -> str:
    """Returns Brax's name of an environment, or "package.module:name" of a callable that makes one.

    Raises:
      ValueError: if there is no such environment, with the nearest names; or if Brax is needed and
        not installed.
    """
    del env_preset  # `presets.resolve` accepts only the default.
    if ":" in name:
        return name
    if importlib.util.find_spec("brax") is None:
        raise ValueError("Brax is not installed: pip install 'dsrl_jax[brax]'")
    if name in NAMES or name in (known := _import_brax()._envs):
        return name
    raise ValueError(
        f"env must be one of {', '.join(NAMES)}, another Brax name, or package.module:name, "
        f"got {name!r}{did_you_mean(name, known)}"
    )


def make(env_id: str, brax_backend: str = "generalized") -> Environment:
    """Makes an environment and checks that an agent can act in it.

    Args:
      env_id: as returned by `resolve_id`; a callable is called with `backend=brax_backend`.
    Raises:
      ValueError: if it cannot be made, its observation is not a vector, or your own environment's
        `step` returns another structure, shape or dtype than its `reset`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Brax announces its successor.
            if ":" in env_id:
                module, _, name = env_id.partition(":")
                environment = getattr(importlib.import_module(module), name)(backend=brax_backend)
            else:
                environment = _import_brax().get_environment(env_id, backend=brax_backend)
            shape = _observation_shape(environment)
            if ":" in env_id and len(shape) == 1:
                _check_step(environment)
    except Exception as error:  # The id may name any module, which may raise any error.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"env {env_id!r} cannot be made with brax_backend {brax_backend}: {reason}"
        ) from error
    if len(shape) != 1:
        raise ValueError(f"env {env_id!r}: the observation must be a vector, got shape {shape}")
    return environment


def read_sizes(environment: Environment) -> Sizes:
    """Returns an environment's sizes; Brax itself rescales actions from [-1, 1]."""
    actions = int(environment.action_size)
    return Sizes(_observation_shape(environment)[0], (-1.0,) * actions, (1.0,) * actions)


def _observation_shape(environment: Environment) -> tuple[int, ...]:
    """Returns the shape that `reset` returns; traces it only, as computing it takes seconds."""
    import jax

    state = jax.eval_shape(environment.reset, jax.random.PRNGKey(0))
    return tuple(state.obs.shape)


def _check_step(environment: Environment) -> None:
    """Raises ValueError if `step` changes the state's structure, shapes or dtypes; only traces."""
    import jax
    import jax.numpy as jnp

    def step() -> tuple[Any, Any]:
        state = environment.reset(jax.random.PRNGKey(0))
        return state, environment.step(state, jnp.zeros(environment.action_size))

    start, following = map(_describe_leaves, jax.eval_shape(step))
    for path in sorted(start.keys() | following.keys()):
        before, after = start.get(path, "missing"), following.get(path, "missing")
        if before != after:
            raise ValueError(f"state{path} is {before} after reset and {after} after step")


def _describe_leaves(state: Any) -> dict[str, str]:
    """Returns the dtype and shape of each array by its path."""
    import jax

    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(state)
    }


def _import_brax() -> Any:
    try:
        # MuJoCo's JAX back-end prints that an optional library is missing.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return importlib.import_module("brax.envs")
    except ImportError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"Brax cannot be imported ({reason}): pip install 'dsrl_jax[brax]'"
        ) from error
