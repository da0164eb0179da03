"""The replay on disk: two files to which transitions are appended in order.

`transitions.f32` has one record a step, [members, observation + action + 3]: observation, action,
reward, terminated, ended. `finals.f32` has the last observation of each finished episode, by
step, then member. Native byte order, float32.
"""

import math
import os
from pathlib import Path

import numpy as np

from dsrl_jax.training.host.replay import Replay

# Steps read at a time into a replay, so that it is in memory only once.
_CHUNK = 4096


class ReplayFile:
    """Appends transitions; `flush` it before a checkpoint, `restore` it from one."""

    def __init__(self, directory: Path, replay: Replay):
        directory.mkdir(parents=True, exist_ok=True)
        self.replay = replay
        self.paths = (directory / "transitions.f32", directory / "finals.f32")
        self.files = [path.open("ab") for path in self.paths]

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_observation: np.ndarray,
    ) -> None:
        """Writes one transition of every member; arguments as in `Replay.add`."""
        ended = terminated | truncated
        flags = [column.astype(np.float32)[:, None] for column in (reward, terminated, ended)]
        record = np.concatenate([observation, action, *flags], axis=1, dtype=np.float32)
        self.files[0].write(record.tobytes())
        self.files[1].write(next_observation[ended].astype(np.float32).tobytes())

    def flush(self) -> None:
        """Syncs everything to the disk."""
        for file in self.files:
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Closes the files; transitions since the last flush may reach the disk or not."""
        for file in self.files:
            file.close()

    def restore(self, steps: int) -> None:
        """Cuts the files to the first `steps` steps and fills the replay from them.

        Raises:
          ValueError: if the files have fewer.
        """
        records = self._records(steps)
        ended = records[:, :, -1] > 0
        finals = self._finals(int(ended.sum()))
        size, used = self.replay.observation_size, 0
        for start in range(0, steps, _CHUNK):
            record, ends = np.array(records[start : start + _CHUNK]), ended[start : start + _CHUNK]
            # If an episode continues, the next record has the next observation.
            following = record[:, :, :size].copy()
            following[ends] = finals[used : used + ends.sum()]
            used += int(ends.sum())
            observation, action, reward = np.split(record[:, :, :-2], [size, -1], axis=2)
            terminated = record[:, :, -2] > 0
            self.replay.extend(
                observation, action, reward[:, :, 0], terminated, ends & ~terminated, following
            )
        for file, kept in zip(self.files, (records.nbytes, finals.nbytes), strict=True):
            file.truncate(kept)

    def last_actions(self, steps: int, member: int, count: int) -> np.ndarray:
        """Returns a member's last `count` actions of the first `steps` steps, the oldest first."""
        actions = slice(self.replay.observation_size, -3)
        return np.array(self._records(steps)[steps - count :, member, actions])

    def _records(self, steps: int) -> np.ndarray:
        width = self.replay.observation_size + self.replay.action_size + 3
        return _map(self.paths[0], (steps, len(self.replay.seeds), width), "steps")

    def _finals(self, count: int) -> np.ndarray:
        return _map(self.paths[1], (count, self.replay.observation_size), "observations")


def _map(path: Path, shape: tuple[int, ...], counted: str) -> np.ndarray:
    """Maps the beginning of a file as an array. Raises ValueError if the file is too short."""
    count = path.stat().st_size // (4 * math.prod(shape[1:]))
    if count < shape[0]:
        raise ValueError(f"{path} holds {count} {counted}, the checkpoint names {shape[0]}")
    # An empty file cannot be mapped.
    return np.memmap(path, np.float32, "r", shape=shape) if shape[0] else np.empty(shape, "f4")
