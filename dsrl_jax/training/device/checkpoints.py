"""The checkpoints of a run on devices, its replay's rows among them; the first process writes."""

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

# Rows that come from the device at a time: enough to write fast, few enough to hold twice.
_CHUNK = 8192


class DeviceCheckpoints:
    """Saves and restores; every process of a run calls the same methods in the same order.

    Args:
      checkpoints: of the first process; None on the others.
    """

    def __init__(self, checkpoints: Checkpoints[DeviceReplayFile] | None):
        self.checkpoints = checkpoints
        self.written = 0  # transitions of each member

    def save(self, step: int, saved: Saved, rows: Array) -> None:
        """Saves what came to the replay since the last call, and everything else.

        Args:
          step: how many transitions each member has added to `rows`.
          rows: the ring, [members, capacity, columns].
        """
        for chunk in _read_new(rows, self.written, step):
            if self.checkpoints:
                self.checkpoints.replay_file.add(chunk)
        self.written = step
        if self.checkpoints:
            self.checkpoints.save(step, saved)

    def restore(self, like: dict[str, Any], capacity: int) -> tuple[Saved, np.ndarray | None]:
        """The last whole checkpoint and its ring, or one without parts and None; see `Checkpoints`.

        Args:
          like: of NumPy arrays.
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
        """Releases the files."""
        if self.checkpoints:
            self.checkpoints.close()


def _read_new(rows: Array, first: int, end: int) -> Iterator[np.ndarray]:
    """The rows from the `first`-th that was ever added on, [n, members, columns] each time.

    Of more rows than the ring holds the older ones are lost, and newer ones stand in their places
    here: no ring that is filled from them takes those.
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
    """What the first process has read, on every process; what is to be told of it stays there."""
    told = json.dumps([saved.record, None if ring is None else ring.shape]).encode()
    size = int(share(np.int32(len(told))))
    text = share(np.frombuffer(told.ljust(size)[:size], np.uint8))
    record, shape = json.loads(text.tobytes())
    if shape is None:
        return saved, None
    parts, ring = share(
        (saved.parts or like, np.zeros(shape, np.float32) if ring is None else ring)
    )
    return Saved(parts, record, saved.notes), ring
