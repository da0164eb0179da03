"""Checkpoints of a run: arrays and a small record, written whole or not at all; two are kept."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from dsrl_jax.training.replay_file import ReplayFile


class Saved(NamedTuple):
    """What a checkpoint holds: a tree of arrays, and numbers of the loop."""

    arrays: Any
    record: dict[str, Any]


class RestoreError(ValueError):
    """A checkpoint, or the replay that it names, that cannot be read."""


class Checkpoints:
    """The checkpoints of one run directory, and the replay's file beside them."""

    def __init__(self, directory: Path, replay_file: ReplayFile):
        self.replay_file = replay_file
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(directory.resolve(), options=options)

    def save(self, step: int, saved: Saved) -> None:
        """Writes the replay's rows to the disk, then the checkpoint that names them."""
        self.replay_file.flush()
        self.manager.save(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(saved.arrays),
                record=ocp.args.JsonSave(saved.record),
            ),
        )

    def close(self) -> None:
        """Releases the files."""
        self.manager.close()
        self.replay_file.close()

    def restore(self, like: Any) -> Saved | None:
        """The last checkpoint, or None; `like` is a tree of arrays of the same structure.

        Raises:
          RestoreError: says what cannot be read.
        """
        try:
            return self._restore(like)
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise RestoreError(f"the checkpoint cannot be read: {reason}") from error

    def _restore(self, like: Any) -> Saved | None:
        step = self.manager.latest_step()
        if step is None:
            self.replay_file.restore(0)  # Rows of a run that was stopped before its first one.
            return None
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        found = self.manager.restore(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(template),
                record=ocp.args.JsonRestore(),
            ),
        )
        self.replay_file.restore(step)
        return Saved(found["arrays"], found["record"])
