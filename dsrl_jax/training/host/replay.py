"""Stores transitions on the host, in float32 arrays with a leading axis of members.

An observation is stored once: the next observation of a transition is the observation of the
following row. If an episode ended there, its true last observation is in `finals`.
"""

import numpy as np

from dsrl_jax.training.host.random import Stream, generator


class Replay:
    """A ring of transitions; samples uniformly from the last `capacity` of them.

    A row is observation, action, reward, terminated. `finals[m, e % slots]` is the last
    observation of member m's e-th finished episode; `final_of[m, row]` is that e, or -1 if the
    episode continued after the row.
    """

    def __init__(
        self, seeds: tuple[int, ...], capacity: int, observation_size: int, action_size: int
    ):
        members, slots = len(seeds), 16
        self.seeds = seeds
        self.capacity = capacity
        self.observation_size = observation_size
        self.action_size = action_size
        self.added = 0
        # One row more than transitions, for the next observation of the newest one.
        self.rows = np.empty(
            (members, capacity + 1, observation_size + action_size + 2), np.float32
        )
        self.final_of = np.empty((members, capacity + 1), np.int32)
        self.finals = np.empty((members, slots, observation_size), np.float32)
        self.finished = np.zeros(members, np.int64)
        self.oldest_final = np.zeros(members, np.int64)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_observation: np.ndarray,
    ) -> None:
        """Adds one transition of every member; all arrays are [members, …].

        `next_observation` is the true one, also if the episode ends.
        """
        size = self.observation_size
        here = self.added % (self.capacity + 1)
        if self.added > self.capacity:  # The row had the oldest transition.
            self.oldest_final += self.final_of[:, here] >= 0
        row = self.rows[:, here]
        row[:, :size] = observation
        row[:, size : size + self.action_size] = action
        row[:, -2] = reward
        row[:, -1] = terminated
        self.final_of[:, here] = -1
        for member in np.flatnonzero(terminated | truncated).tolist():
            self._add_final(member, here, next_observation[member])
        self.added += 1
        self.rows[:, self.added % (self.capacity + 1), :size] = next_observation

    def extend(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_observation: np.ndarray,
    ) -> None:
        """Adds many transitions of every member, as `add` of one after the other would.

        All arrays are [steps, members, …]. Only the `next_observation` of the last step and of
        steps that end an episode is used.
        """
        steps = (observation, action, reward, terminated, truncated, next_observation)
        for start in range(0, len(reward), self.capacity + 1):
            # No row is written twice in one piece.
            self._extend(*(array[start : start + self.capacity + 1] for array in steps))

    def sample(self, batch_size: int, step: int) -> np.ndarray:
        """Samples a batch for each member with replacement; it follows from (seed, step).

        Returns:
          float32 [members, batch_size, 2 observations + action + 2]: observation, action, reward,
          terminated, next observation.
        """
        size, ring = self.observation_size, self.capacity + 1
        oldest = self.added - len(self)
        packed = np.empty((len(self.seeds), batch_size, self.rows.shape[-1] + size), np.float32)
        for member, seed in enumerate(self.seeds):
            draw = generator(seed, Stream.REPLAY_SAMPLE, step)
            index = (oldest + draw.integers(len(self), size=batch_size)) % ring
            # `take` of whole rows is several times as fast as an index in brackets.
            rows, finals = self.rows[member], self.finals[member]
            packed[member, :, :-size] = rows.take(index, axis=0)
            packed[member, :, -size:] = rows.take((index + 1) % ring, axis=0)[:, :size]
            final = self.final_of[member].take(index)
            if final.max() >= 0:
                ended = np.flatnonzero(final >= 0)
                packed[member, ended, -size:] = finals[final[ended] % len(finals)]
        return packed

    def empty_batch(self, batch_size: int) -> np.ndarray:
        """Returns zeros in the shape of a sample."""
        width = self.rows.shape[-1] + self.observation_size
        return np.zeros((len(self.seeds), batch_size, width), np.float32)

    def _extend(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_observation: np.ndarray,
    ) -> None:
        size, ring = self.observation_size, self.capacity + 1
        step = np.arange(self.added, self.added + len(reward))
        here, ended = step % ring, (terminated | truncated).T
        forgotten = (step > self.capacity) & (self.final_of[:, here] >= 0)
        self._reserve_finals(np.cumsum(ended, axis=1) - np.cumsum(forgotten, axis=1))
        self.rows[:, here, :size] = observation.swapaxes(0, 1)
        self.rows[:, here, size : size + self.action_size] = action.swapaxes(0, 1)
        self.rows[:, here, -2] = reward.T
        self.rows[:, here, -1] = terminated.T
        episode = self.finished[:, None] + np.cumsum(ended, axis=1) - 1
        self.final_of[:, here] = np.where(ended, episode, -1)
        for member, ends in enumerate(ended):
            slot = episode[member, ends] % self.finals.shape[1]
            self.finals[member, slot] = next_observation[ends, member]
        self.finished += ended.sum(axis=1)
        self.oldest_final += forgotten.sum(axis=1)
        self.added += len(reward)
        self.rows[:, self.added % ring, :size] = next_observation[-1]

    def _reserve_finals(self, growth: np.ndarray) -> None:
        """Makes room for so many more of them, int [members, steps]."""
        most = (self.finished - self.oldest_final)[:, None] + growth
        while most.max() > self.finals.shape[1]:
            self._double_finals()

    def _add_final(self, member: int, row: int, observation: np.ndarray) -> None:
        if self.finished[member] - self.oldest_final[member] == self.finals.shape[1]:
            self._double_finals()
        episode = self.finished[member]
        self.finals[member, episode % self.finals.shape[1]] = observation
        self.final_of[member, row] = episode
        self.finished[member] += 1

    def _double_finals(self) -> None:
        old, slots = self.finals, self.finals.shape[1]
        self.finals = np.empty((old.shape[0], 2 * slots, old.shape[2]), np.float32)
        for member in range(old.shape[0]):
            live = np.arange(self.oldest_final[member], self.finished[member])
            self.finals[member, live % (2 * slots)] = old[member, live % slots]
