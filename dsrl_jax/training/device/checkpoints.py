"""Saves and restores a run on devices with its replay; only the first process writes."""

import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.training.checkpoints.checkpoint import Checkpoints, Saved
from dsrl_jax.training.device.replay_file import DeviceReplayFile
from dsrl_jax.training.devices import fetch, share

# Rows fetched from the device at a time: enough to write fast, few enough to be in memory twice.
_CHUNK = 8192


class DeviceCheckpoints:
    """Saves and restores; all processes of a run call the same methods in the same order.

    Args:
      checkpoints: of the first process; None on the others.
    """

    def __init__(self, checkpoints: Checkpoints[DeviceReplayFile] | None):
        self.checkpoints = checkpoints
        self.written = 0  # transitions of each member

    def save(self, step: int, saved: Saved, rows: Array) -> None:
        """Saves the rows that were added since the last call, and a checkpoint.

        Args:
          step: the number of transitions that each member has added to `rows`.
          rows: the ring, [members, capacity, columns].
        """
        for chunk in _read_new(rows, self.written, step):
            if self.checkpoints:
                self.checkpoints.replay_file.add(chunk)
        self.written = step
        if self.checkpoints:
            self.checkpoints.save(step, saved)

    def restore(self, like: dict[str, Any], capacity: int) -> tuple[Saved, np.ndarray | None]:
        """Restores the last whole checkpoint, see `Checkpoints`.

        Args:
          like: trees of NumPy arrays.
        Returns:
          The checkpoint and its ring; without parts, and None, if nothing was ever saved.
        """
        saved = self.checkpoints.restore(like) if self.checkpoints else Saved({}, {})
        ring = None
        if self.checkpoints and saved.parts:
            ring = self.checkpoints.replay_file.fill(capacity)
        if jax.process_count() > 1:
            saved, ring = _share(saved, ring, like)
        self.written = saved.record.get("env_step", 0)
        return saved, ring

    def close(self) -> None:
        """Closes the files."""
        if self.checkpoints:
            self.checkpoints.close()


def _read_new(rows: Array, first: int, end: int) -> Iterator[np.ndarray]:
    """Yields the rows from the `first`-th that was ever added, [n, members, columns] each time.

    If there are more than the ring has, the older ones are lost and newer ones are in their places.
    A ring that is filled from them never contains those places.
    """
    for start in range(first, end, _CHUNK):
        places = np.arange(start, min(start + _CHUNK, end)) % rows.shape[1]
        yield fetch(_take(rows, places))


@jax.jit
def _take(rows: Array, places: Array) -> Array:
    return jnp.moveaxis(rows[:, places], 0, 1)


def _share(
    saved: Saved, ring: np.ndarray | None, like: dict[str, Any]
) -> tuple[Saved, np.ndarray | None]:
    """Returns on every process what the first one has read; its notes stay there."""
    content = json.dumps([saved.record, None if ring is None else ring.shape]).encode()
    size = int(share(np.int32(len(content))))
    text = share(np.frombuffer(content.ljust(size)[:size], np.uint8))
    record, shape = json.loads(text.tobytes())
    if shape is None:
        return saved, None
    parts, ring = share(
        (saved.parts or like, np.zeros(shape, np.float32) if ring is None else ring)
    )
    return Saved(parts, record, saved.notes), ring
