"""The replay on disk: two files to which rows are appended, in the order in which they came.

`transitions.f32` has one record a step, [members, observation + action + 3]: observation, action,
reward, terminated, ended. `finals.f32` has the last observation of each finished episode, by
step, then member. Native byte order, float32. What a checkpoint names is on the disk before it.
"""

import os
from pathlib import Path

import numpy as np

from dsrl_jax.training.replay import Replay

# Rows read at a time when a replay is filled again, so that memory holds it once.
_CHUNK = 4096


class ReplayFile:
    """Appends what a replay is given; `flush` before a checkpoint, `restore` after one."""

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
        """Brings everything to the disk."""
        for file in self.files:
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Closes the files; what was added since the last flush may reach the disk or not."""
        for file in self.files:
            file.close()

    def restore(self, steps: int) -> None:
        """Cuts the files to the first `steps` steps and fills the replay from them.

        Raises:
          ValueError: if the files hold fewer.
        """
        replay = self.replay
        members, size = len(replay.seeds), replay.observation_size
        width = size + replay.action_size + 3
        held = self.paths[0].stat().st_size // (4 * members * width)
        if held < steps:
            raise ValueError(f"{self.paths[0]} holds {held} steps, the checkpoint names {steps}")
        records = np.memmap(self.paths[0], np.float32, "r", shape=(steps, members, width))
        finals = np.fromfile(self.paths[1], np.float32).reshape(-1, size)
        used = 0
        for start in range(0, steps, _CHUNK):
            chunk = np.array(records[start : start + _CHUNK])
            for offset, record in enumerate(chunk):
                after = records[min(start + offset + 1, steps - 1), :, :size]
                ended = record[:, -1] > 0
                following = np.array(after)
                following[ended] = finals[used : used + ended.sum()]
                used += int(ended.sum())
                terminated = record[:, -2] > 0
                replay.add(
                    record[:, :size],
                    record[:, size:-3],
                    record[:, -3],
                    terminated,
                    ended & ~terminated,
                    following,
                )
        for file, bytes_kept in zip(
            self.files, (4 * steps * members * width, 4 * used * size), strict=True
        ):
            file.truncate(bytes_kept)
