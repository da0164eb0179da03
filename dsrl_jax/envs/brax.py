"""Brax's environments by name, and anyone's with Brax's interface, as they are: without wrappers.

Importing Brax takes seconds and imports JAX: it is done where it is needed. What starts and ends
episodes is in `episodes.py`.
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
    """What of a state is read here; an environment's own is a tree of arrays with more in it."""

    obs: Any  # [observation_size]
    reward: Any  # []
    done: Any  # [], 1 where the episode ended by its own rules


class Environment(Protocol):
    """Brax's interface: one unbatched environment as pure functions; actions are in [-1, 1]."""

    action_size: int

    def reset(self, rng: Any) -> Any:
        """A start state, drawn by a key."""

    def step(self, state: Any, action: Any) -> Any:
        """The next state, of the same structure, shapes and dtypes."""


def resolve_id(name: str, env_preset: str = "v5") -> str:
    """Brax's name of an environment, or "package.module:name" of a callable that makes one.

    Raises:
      ValueError: if there is no such environment; names the nearest ones. Or if Brax is not
        installed and is needed.
    """
    del env_preset  # `presets.resolve` refuses another one.
    if ":" in name:
        return name
    if importlib.util.find_spec("brax") is None:
        raise ValueError("Brax is not installed: pip install 'dsrl_jax[brax]'")
    if name in NAMES or name in (known := _import_brax()._envs):
        return name
    raise ValueError(
        f"env must be one of {', '.join(NAMES)}, another name of Brax's, or package.module:name, "
        f"got {name!r}{did_you_mean(name, known)}"
    )


def make(env_id: str, brax_backend: str = "generalized") -> Environment:
    """Makes an environment and checks that an agent can act in it.

    Args:
      env_id: as `resolve_id` returns it; a callable is given `backend=brax_backend`.
    Raises:
      ValueError: if it cannot be made, its observation is no vector, or a step of one's own gives
        another kind of state than its reset.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Brax advertises its successor.
            if ":" in env_id:
                module, _, name = env_id.partition(":")
                environment = getattr(importlib.import_module(module), name)(backend=brax_backend)
            else:
                environment = _import_brax().get_environment(env_id, backend=brax_backend)
            shape = _observation_shape(environment)
            if ":" in env_id and len(shape) == 1:
                _check_step(environment)
    except Exception as error:  # The id may name anyone's module, and that may raise anything.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"env {env_id!r} cannot be made with brax_backend {brax_backend}: {reason}"
        ) from error
    if len(shape) != 1:
        raise ValueError(f"env {env_id!r}: the observation must be a vector, got shape {shape}")
    return environment


def read_sizes(environment: Environment) -> Sizes:
    """The sizes of an environment; Brax scales actions from [-1, 1] to its actuators itself."""
    actions = int(environment.action_size)
    return Sizes(_observation_shape(environment)[0], (-1.0,) * actions, (1.0,) * actions)


def _observation_shape(environment: Environment) -> tuple[int, ...]:
    """As `reset` gives it, without computing it, which would take seconds."""
    import jax

    state = jax.eval_shape(environment.reset, jax.random.PRNGKey(0))
    return tuple(state.obs.shape)


def _check_step(environment: Environment) -> None:
    """Holds a step to give a state of the same kind, as a compiled loop needs. Computes nothing."""
    import jax
    import jax.numpy as jnp

    def step() -> tuple[Any, Any]:
        state = environment.reset(jax.random.PRNGKey(0))
        return state, environment.step(state, jnp.zeros(environment.action_size))

    start, following = map(_describe_leaves, jax.eval_shape(step))
    for place in sorted(start.keys() | following.keys()):
        before, after = start.get(place, "missing"), following.get(place, "missing")
        if before != after:
            raise ValueError(f"state{place} is {before} after reset and {after} after step")


def _describe_leaves(state: Any) -> dict[str, str]:
    """Each array's dtype and shape by its place."""
    import jax

    return {
        jax.tree_util.keystr(place): f"{leaf.dtype}{list(leaf.shape)}"
        for place, leaf in jax.tree.leaves_with_path(state)
    }


def _import_brax() -> Any:
    try:
        # MuJoCo's JAX back-end prints that it misses an optional library.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return importlib.import_module("brax.envs")
    except ImportError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"Brax cannot be imported ({reason}): pip install 'dsrl_jax[brax]'"
        ) from error
