"""EnvPool's tasks as Gymnasium environments; its MuJoCo tasks exist as -v3, -v4 and -v5.

Importing EnvPool takes seconds and imports JAX: it is done where it is needed.
"""

from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from dsrl_jax.envs.gymnasium import ALIASES, check_name, did_you_mean, read_sizes

SEED_LIMIT = 2**31  # all seeds are below it
NO_TIME_LIMIT = 2**31 - 1  # steps


def resolve_id(name: str, env_preset: str = "v5") -> str:
    """EnvPool's id of a short name (halfcheetah), in the preset's version, or of an id.

    Raises:
      ValueError: if there is no such task; names the nearest ones. Or if EnvPool is not installed
        and is needed to know.
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
    """One environment of an EnvPool task, unbatched, whose episodes follow from their seeds.

    EnvPool fixes the seed where a pool is made, so `reset(seed=…)` makes the pool anew: about 5 ms,
    the time of some 20 steps. For that an episode is the same, bit for bit, whenever its seed and
    actions are, as on Gymnasium: evaluations start alike every time, and an episode's actions
    played again restore its state. A pool has two threads, which end with it.
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
        """Starts the first episode of a seed, or without one the next episode.

        Raises:
          ValueError: if the seed is not in [0, 2^31).
        """
        del options  # EnvPool has none for an episode.
        if seed is None and self._pool is None:
            seed = int(self.np_random.integers(SEED_LIMIT))
        if seed is not None:
            self._pool = self._make_pool(seed)
        observations, infos = self._pool.reset()
        self._runs = True
        return observations[0], _first(infos)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; where it ends the episode, its observation is still that episode's.

        Raises:
          RuntimeError: before an episode begins and after it ended.
        """
        if not self._runs:
            # EnvPool would start the next episode by itself, as if it were this one's next step.
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
        # `step` holds the limit: by EnvPool's own, a fall on the last step is only a truncation.
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
