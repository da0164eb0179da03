"""EnvPool's tasks as Gymnasium environments; its MuJoCo tasks exist as -v3, -v4 and -v5.

EnvPool takes seconds to import and imports JAX, so the functions that need it import it.
"""

from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from dsrl_jax.envs.gymnasium import ALIASES, check_name, did_you_mean, read_sizes

SEED_LIMIT = 2**31  # seeds are below it
NO_TIME_LIMIT = 2**31 - 1  # steps


def resolve_id(name: str, env_preset: str = "v5") -> str:
    """Returns EnvPool's id of a short name (halfcheetah) in the preset's version, or of an id.

    Raises:
      ValueError: if there is no such task, with the nearest names; or if EnvPool is needed and not
        installed.
    """
    check_name(name, env_preset)
    if name in ALIASES:
        return ALIASES[name].removesuffix("v5") + env_preset
    known = _import_envpool().list_all_envs()
    if name in known:
        return name
    raise ValueError(
        f"env must be one of {', '.join(ALIASES)}, or an EnvPool task, "
        f"got {name!r}{did_you_mean(name, [*ALIASES, *known])}"
    )


def make(task_id: str) -> "Task":
    """Makes an environment of one EnvPool task and checks that an agent can act in it.

    Raises:
      ValueError: if EnvPool is not installed or has no such task, or if the task's spaces are not
        flat bounded boxes.
    """
    envpool = _import_envpool()
    if task_id not in (known := envpool.list_all_envs()):
        raise ValueError(f"EnvPool has no task {task_id!r}{did_you_mean(task_id, known)}")
    environment = Task(envpool, task_id)
    read_sizes(task_id, environment)
    return environment


class Task(gymnasium.Env):
    """One unbatched environment of an EnvPool task with reproducible episodes.

    EnvPool sets the seed when it makes a pool, so `reset(seed=…)` makes a new pool: about 5 ms, the
    time of 20 steps. In return an episode depends only on its seed and actions, bit for bit, as on
    Gymnasium: evaluations start from the same states every time, and replaying an episode's actions
    restores its state. A pool has two threads, which end with it.
    """

    def __init__(self, envpool: ModuleType, task_id: str) -> None:
        spec = envpool.make_spec(task_id)
        self.observation_space = spec.gymnasium_observation_space
        self.action_space = spec.gymnasium_action_space
        self.time_limit = spec.config.max_episode_steps
        self._envpool, self._task_id = envpool, task_id
        self._pool: Any = None
        self._runs = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts the first episode of a seed, or without a seed the next episode.

        Raises:
          ValueError: if the seed is not in [0, 2^31).
        """
        del options  # EnvPool has no options of an episode.
        if seed is None and self._pool is None:
            seed = int(self.np_random.integers(SEED_LIMIT))
        if seed is not None:
            self._pool = self._make_pool(seed)
        observations, infos = self._pool.reset()
        self._runs = True
        return observations[0], _first(infos)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a step; if it ends the episode, the observation is still that episode's.

        Raises:
          RuntimeError: if no episode is running.
        """
        if not self._runs:
            # EnvPool would start the next episode and return its observation as this one's.
            raise RuntimeError("no episode is running: call reset() before step()")
        actions = np.asarray(action, self.action_space.dtype)[None]
        observations, rewards, terminated, _, infos = self._pool.step(actions)
        is_terminated = bool(terminated[0])
        is_truncated = bool(infos["elapsed_step"][0] >= self.time_limit)
        self._runs = not (is_terminated or is_truncated)
        return observations[0], float(rewards[0]), is_terminated, is_truncated, _first(infos)

    def close(self) -> None:
        """Ends the pool and its threads."""
        self._pool, self._runs = None, False

    def _make_pool(self, seed: int) -> Any:
        if not 0 <= seed < SEED_LIMIT:
            raise ValueError(f"seed must be in [0, 2**31) for EnvPool, got {seed}")
        # `step` has the limit: EnvPool's own would report a fall on the last step as a truncation.
        return self._envpool.make_gymnasium(
            self._task_id, num_envs=1, seed=int(seed), max_episode_steps=NO_TIME_LIMIT
        )


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {name: values[0] for name, values in infos.items() if isinstance(values, np.ndarray)}


def _import_envpool() -> ModuleType:
    try:
        import envpool
    except ImportError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"EnvPool cannot be imported ({reason}): pip install 'dsrl_jax[envpool]'"
        ) from error
    return envpool
