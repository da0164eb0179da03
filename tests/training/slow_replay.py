"""A replay as a list of tuples per member, and random episodes to fill replays with."""

import numpy as np

OBSERVATION, ACTION = 3, 2


class SlowReplay:
    """Every transition whole, packed as observation, action, reward, terminated, next one."""

    def __init__(self, members):
        self.packed = [[] for _ in range(members)]

    def add(self, observation, action, reward, terminated, truncated, next_observation):
        del truncated  # The next observation is the true one: nothing else depends on it.
        parts = (observation, action, reward[:, None], terminated[:, None], next_observation)
        for member, row in enumerate(np.concatenate(parts, axis=1, dtype=np.float32)):
            self.packed[member].append(row)

    def rows(self, member, capacity):
        """The last `capacity` transitions, the oldest first."""
        return np.array(self.packed[member][-capacity:])


def steps_of_episodes(rng, members, steps, end_probability):
    """Arguments of `add` for each step; each member's episodes end when they end.

    The probability is one number, or one for each step.
    """
    observation = rng.normal(size=(members, OBSERVATION)).astype(np.float32)
    for probability in np.broadcast_to(end_probability, steps):
        ended = rng.random(members) < probability
        terminated = ended & (rng.random(members) < 0.5)
        following = rng.normal(size=(members, OBSERVATION)).astype(np.float32)
        action = rng.normal(size=(members, ACTION)).astype(np.float32)
        reward = rng.normal(size=members)
        yield observation, action, reward, terminated, ended & ~terminated, following
        start = rng.normal(size=(members, OBSERVATION)).astype(np.float32)
        observation = np.where(ended[:, None], start, following)
