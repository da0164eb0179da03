"""The device's replay on disk: one file to which rows are appended in order.

`transitions.f32` has one record for each transition of all members, [members, columns], with the
columns of `device.replay`. Native byte order, float32.
"""

import os
from pathlib import Path

import numpy as np


class DeviceReplayFile:
    """Appends the rows of a ring; `flush` it before a checkpoint, `restore` it from one."""

    def __init__(self, directory: Path, members: int, columns: int):
        directory.mkdir(parents=True, exist_ok=True)
        self.members, self.columns = members, columns
        self.path = directory / "transitions.f32"
        self.paths = (self.path,)
        self.file = self.path.open("ab")
        self.written = 0  # transitions of each member

    def add(self, new: np.ndarray) -> None:
        """Writes the next rows, float32 [n, members, columns]."""
        self.file.write(new.tobytes())
        self.written += len(new)

    def flush(self) -> None:
        """Syncs everything to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Closes the file; rows since the last flush may reach the disk or not."""
        self.file.close()

    def restore(self, steps: int) -> None:
        """Cuts the file to the first `steps` transitions.

        Raises:
          ValueError: if the file has fewer.
        """
        record = 4 * self.members * self.columns
        written = self.path.stat().st_size // record
        if written < steps:
            raise ValueError(f"{self.path} holds {written} steps, the checkpoint names {steps}")
        self.file.truncate(steps * record)
        self.written = steps

    def fill(self, capacity: int) -> np.ndarray:
        """Returns the ring [members, capacity, columns] as it was when the last row was written."""
        rows = np.zeros((self.members, capacity, self.columns), np.float32)
        size = min(self.written, capacity)
        if size:
            shape = (self.written, self.members, self.columns)
            records = np.memmap(self.path, np.float32, "r", shape=shape)
            places = np.arange(self.written - size, self.written) % capacity
            rows[:, places] = np.moveaxis(records[self.written - size :], 0, 1)
        return rows
