"""Evaluation: all episodes of all members step together, with one call of the policy a step."""

from collections.abc import Callable

import gymnasium
import numpy as np

# As in the authors' code: a fresh environment seeded seed + 100.
SEED_OFFSET = 100

Act = Callable[[np.ndarray], np.ndarray]


def evaluate(
    act: Act,
    environments: list[list[gymnasium.Env]],
    seeds: tuple[int, ...],
    *,
    first_episode: int = 0,
    playing: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Plays one episode in each environment.

    Args:
      act: float32 observations [members, episodes, n] to actions [members, episodes, k].
      environments: for each member one per episode; episode i starts as the i-th of consecutive
        episodes in one environment seeded `seed + 100`.
      first_episode: the i of the first environment.
      playing: which members play, bool [members]; all by default. The others get 0.
    Returns:
      Returns, float64 [members, episodes], and lengths, int [members, episodes].
    """
    shape = (len(environments), len(environments[0]))
    observation_size = environments[0][0].observation_space.shape[0]  # type: ignore[index]
    observations = np.zeros((*shape, observation_size), np.float32)
    returns, lengths, running = np.zeros(shape), np.zeros(shape, int), np.ones(shape, bool)
    if playing is not None:
        running &= playing[:, None]
    for member in np.flatnonzero(running.any(axis=1)).tolist():
        seed = seeds[member]
        for episode, environment in enumerate(environments[member]):
            observations[member, episode] = _reset_to_episode(
                environment, seed, first_episode + episode
            )
    while running.any():
        actions = act(observations)
        for member, episode in np.argwhere(running):
            environment = environments[member][episode]
            observation, reward, terminated, truncated, _ = environment.step(
                actions[member, episode]
            )
            observations[member, episode] = observation
            returns[member, episode] += float(reward)
            lengths[member, episode] += 1
            running[member, episode] = not (terminated or truncated)
    return returns, lengths


def _reset_to_episode(environment: gymnasium.Env, seed: int, episode: int) -> np.ndarray:
    observation, _ = environment.reset(seed=seed + SEED_OFFSET)
    for _ in range(episode):
        observation, _ = environment.reset()
    return observation
