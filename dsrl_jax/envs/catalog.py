"""Finds and makes environments by name; all except Brax's have Gymnasium's interface."""

from types import ModuleType

import gymnasium

from dsrl_jax.envs import brax as brax_tasks
from dsrl_jax.envs import envpool as envpool_tasks
from dsrl_jax.envs import gymnasium as gymnasium_tasks
from dsrl_jax.envs.gymnasium import Sizes, read_sizes

BACKENDS = ("gymnasium", "envpool", "brax")


def resolve_id(name: str, env_preset: str = "v5", backend: str = "gymnasium") -> str:
    """Returns the back-end's id of a short name or an id.

    Raises:
      ValueError: if there is no such environment; names the existing or the nearest ones.
    """
    return _tasks(backend).resolve_id(name, env_preset)


def make(
    env_id: str,
    env_preset: str = "v5",
    backend: str = "gymnasium",
    render_mode: str | None = None,
) -> gymnasium.Env:
    """Makes an environment with Gymnasium's interface and checks that an agent can act in it.

    Raises:
      ValueError: says why it cannot be made, or cannot be used.
    """
    if backend == "brax":
        raise ValueError(
            f"env {env_id!r} of backend brax only trains on the device: its evaluations are in "
            "evaluations.csv, and dsrl_jax.load_policy loads the policy"
        )
    if _tasks(backend) is envpool_tasks:
        if render_mode:
            raise ValueError("EnvPool cannot render: use backend gymnasium")
        return envpool_tasks.make(env_id)
    return gymnasium_tasks.make(env_id, env_preset, render_mode)


def look_up_sizes(
    env_id: str,
    env_preset: str = "v5",
    backend: str = "gymnasium",
    brax_backend: str = "generalized",
) -> Sizes:
    """Makes an environment, reads its sizes, and closes it.

    Raises:
      ValueError: says why it cannot be made, or cannot be used.
    """
    if backend == "brax":
        return brax_tasks.read_sizes(brax_tasks.make(env_id, brax_backend))
    environment = make(env_id, env_preset, backend)
    try:
        return read_sizes(env_id, environment)
    finally:
        environment.close()


def _tasks(backend: str) -> ModuleType:
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    tasks = {"gymnasium": gymnasium_tasks, "envpool": envpool_tasks, "brax": brax_tasks}
    return tasks[backend]
