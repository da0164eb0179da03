"""Checkpoints of a run: arrays and a small record, written whole or not at all; three are kept.

What is damaged is noticed: a checkpoint holds a checksum of its arrays and of its record, and seals
of the files beside it that only grow, the replay's and the tables.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from dsrl_jax.training.replay_file import ReplayFile
from dsrl_jax.training.seals import EMPTY, Seal, check_seal, cut_file, seal_file

KEPT = 3
_PARTS = ("arrays", "record")


class Saved(NamedTuple):
    """What a checkpoint holds: a tree of arrays, and numbers of the loop.

    notes: what a reader has to be told of checkpoints that could not be used
    """

    arrays: Any
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


class RestoreError(ValueError):
    """Checkpoints of which none can be read, or whose files are not those that they name."""


class SaveError(OSError):
    """A checkpoint that could not be written."""


class Checkpoints:
    """The checkpoints of one run, the replay's files and the tables that they name.

    Args:
      directory: of the checkpoints alone; made if there is none.
      tables: files to which the reader of a loop appends its rows; a checkpoint names what they
        hold when it is made, and they are cut to that when it is restored.
    """

    def __init__(self, directory: Path, replay_file: ReplayFile, tables: tuple[Path, ...] = ()):
        self.replay_file, self.tables = replay_file, tables
        self.directory = directory.resolve()
        self.seals = {path.name: EMPTY for path in (*replay_file.paths, *tables)}
        self.manager = _manager(self.directory, KEPT)

    def save(self, step: int, saved: Saved) -> None:
        """Brings the replay's rows and the tables to the disk, then the checkpoint that names them.

        Raises:
          OSError: if the disk does not take them; the checkpoints before are whole.
        """
        self.replay_file.flush()
        paths = (*self.replay_file.paths, *self.tables)
        self.seals = {path.name: seal_file(path, self.seals[path.name]) for path in paths}
        record = {"loop": saved.record, "seals": self.seals, "arrays": _digest(saved.arrays)}
        sealed = {"record": record, "checksum": _digest_record(record)}
        try:
            written = self.manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(saved.arrays),
                    record=ocp.args.JsonSave(sealed),
                ),
                force=True,
            )
        except Exception as error:  # The libraries below raise whatever a full disk makes of them.
            raise SaveError(f"checkpoint {step} cannot be written: {first_line(error)}") from error
        assert written, f"checkpoint {step} was skipped"

    def close(self) -> None:
        """Releases the files."""
        self.manager.close()
        self.replay_file.close()

    def restore(self, like: Any) -> Saved | None:
        """The last checkpoint that is whole, or None if there never was one.

        Files are cut to what it names, and damaged checkpoints after it are removed.

        Args:
          like: a tree of arrays of the same structure, shapes and dtypes.
        Raises:
          RestoreError: says of each checkpoint why it cannot be used; no file is changed.
        """
        steps = sorted(self.manager.all_steps(), reverse=True)
        if not steps:
            for path in self.tables:  # Of a run that was stopped before its first checkpoint.
                cut_file(path, EMPTY)
            self.replay_file.restore(0)
            return None
        found, damage = _first_whole(self.manager, steps, like, self._check_seals)
        if found is None:
            raise RestoreError("no checkpoint can be used: " + "; ".join(damage.values()))
        for step in damage:
            shutil.rmtree(self.directory / str(step))
        self.manager.reload()
        step = steps[len(damage)]
        self.seals = _seals(found.record)
        for path in self.tables:
            cut_file(path, self.seals[path.name])
        self.replay_file.restore(step)
        notes = [f"{reason}; continues from checkpoint {step}" for reason in damage.values()]
        return Saved(found.arrays, found.record["loop"], tuple(notes))

    def _check_seals(self, record: dict[str, Any]) -> None:
        seals = _seals(record)
        for path in (*self.replay_file.paths, *self.tables):
            check_seal(path, seals[path.name])


def read_last(directory: Path, like: Any) -> Saved:
    """The last whole checkpoint of a directory, which may be in use; writes nothing.

    Raises:
      RestoreError: if there is none.
    """
    if not directory.is_dir():
        raise RestoreError(f"{directory} does not exist: no checkpoint was written yet")
    manager = _manager(directory.resolve(), None)
    try:
        steps = sorted(manager.all_steps(), reverse=True)
        found, damage = _first_whole(manager, steps, like, lambda record: None)
    finally:
        manager.close()
    if found is None:
        reasons = "; ".join(damage.values()) or f"{directory} holds none"
        raise RestoreError(f"no checkpoint can be used: {reasons}")
    return Saved(found.arrays, found.record["loop"], tuple(damage.values()))


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _manager(directory: Path, kept: int | None) -> ocp.CheckpointManager:
    """Of checkpoints that are written one at a time; without a number to keep, for reading."""
    writes = kept is not None
    options = ocp.CheckpointManagerOptions(
        max_to_keep=kept,
        create=writes,
        cleanup_tmp_directories=writes,  # of a process that was killed while it wrote
        enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(directory, options=options, item_names=_PARTS)


def _first_whole(
    manager: ocp.CheckpointManager, steps: list[int], like: Any, check: Any
) -> tuple[Saved | None, dict[int, str]]:
    """The first of some checkpoints that is whole, and why those before it are not, by step."""
    template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    arguments = {"arrays": ocp.args.StandardRestore(template), "record": ocp.args.JsonRestore()}
    damage: dict[int, str] = {}
    for step in steps:
        try:
            found = manager.restore(step, args=ocp.args.Composite(**arguments))
            record = found["record"]["record"]
            if _digest_record(record) != found["record"]["checksum"]:
                raise ValueError("its record was changed: the checksum is another one")
            if _digest(found["arrays"]) != record["arrays"]:
                raise ValueError("its arrays were changed: the checksum is another one")
            check(record)
            return Saved(found["arrays"], record), damage
        except Exception as error:  # A damaged file may make the libraries below raise anything.
            damage[step] = f"checkpoint {step} cannot be used, {first_line(error)}"
    return None, damage


def _seals(record: Mapping[str, Any]) -> dict[str, Seal]:
    return {name: Seal(*seal) for name, seal in record["seals"].items()}


def _digest(arrays: Any) -> str:
    """A checksum of a tree's leaves: their places in it, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for place, leaf in jax.tree.leaves_with_path(arrays):
        values = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(place)} {values.dtype} {values.shape}".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _digest_record(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
