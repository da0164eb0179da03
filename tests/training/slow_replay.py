"""A replay as a list of tuples per member, random episodes to fill replays with, and slow ways."""

import numpy as np

from dsrl_jax.training.host.replay import Replay

OBSERVATION, ACTION = 3, 2


def empty_replay(members, capacity):
    """Returns a replay with zeros where nothing was added, so that all of it compares."""
    replay = Replay(tuple(range(members)), capacity, OBSERVATION, ACTION)
    replay.rows[:], replay.final_of[:] = 0, 0
    return replay


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


def refill(replay, paths, steps):
    """Fills a replay from its two files, one transition after the other."""
    width = OBSERVATION + ACTION + 3
    records, finals = (np.fromfile(path, np.float32) for path in paths)
    finals = iter(finals.reshape(-1, OBSERVATION))
    for record in records.reshape(-1, len(replay.seeds), width)[:steps]:
        observation, action, following = record[:, :OBSERVATION], record[:, OBSERVATION:-3], []
        reward, terminated, ended = record[:, -3], record[:, -2] > 0, record[:, -1] > 0
        for member, ends in enumerate(ended):
            following.append(next(finals) if ends else observation[member])
        replay.add(
            observation, action, reward, terminated, ended & ~terminated, np.array(following)
        )


def assert_equal_replays(replay, other):
    """Compares everything that two replays may still read, to the bit."""
    assert (replay.added, replay.finals.shape) == (other.added, other.finals.shape)
    for name in ("rows", "final_of", "finished", "oldest_final"):
        ours, theirs = getattr(replay, name), getattr(other, name)
        assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes(), name
    for member, (first, end) in enumerate(zip(replay.oldest_final, replay.finished, strict=True)):
        live = np.arange(first, end) % replay.finals.shape[1]
        assert replay.finals[member, live].tobytes() == other.finals[member, live].tobytes()
