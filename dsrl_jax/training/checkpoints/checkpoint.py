"""Checkpoints of a run: arrays and a small record; the last three are kept.

Orbax writes the arrays. record.json is written last and completes the checkpoint. It has the
checksums of the arrays' files and of the files outside the checkpoint that only grow: the replay's
and the tables. Checksums detect damage; the run falls back one checkpoint and warns.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orbax.checkpoint as ocp

from dsrl_jax.training.checkpoints.arrays import (
    RestoreError,
    SaveError,
    check_room,
    digest_shapes,
    read_parts,
    this_process,
    with_disk_names,
)
from dsrl_jax.training.checkpoints.checksums import (
    EMPTY,
    RECORD,
    Checksum,
    check_file,
    compute_checksum,
    cut_file,
    exists,
    read_record,
    write_record,
)

KEPT = 3


class GrowingFiles(Protocol):
    """Files outside the checkpoints that only grow, such as a replay's."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of the files."""

    def flush(self) -> None:
        """Syncs everything to the disk."""

    def restore(self, steps: int) -> None:
        """Cuts the files to what they had after that many steps."""

    def close(self) -> None:
        """Closes the files."""


Files = TypeVar("Files", bound=GrowingFiles)


class Saved(NamedTuple):
    """The content of a checkpoint.

    parts: trees of arrays by name, each of which can be read without the others; empty if nothing
      was saved yet
    record: plain numbers
    notes: why later checkpoints could not be used, for the user
    """

    parts: dict[str, Any]
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


class Checkpoints(Generic[Files]):
    """The checkpoints of one run, with the replay's files and the tables that belong to them.

    Args:
      directory: only for the checkpoints; it is made if it does not exist.
      tables: files to which the reader of a loop appends rows; to restore a checkpoint cuts them
        to what they had when it was saved.
    """

    def __init__(self, directory: Path, replay_file: Files, tables: tuple[Path, ...] = ()):
        self.directory, self.replay_file, self.tables = directory, replay_file, tables
        self.checksums = {path.name: EMPTY for path in self._growing}
        directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            create=False,
            multiprocessing_options=this_process(),
            cleanup_tmp_directories=True,  # of a process that was killed while it wrote
            enable_async_checkpointing=False,
        )
        self.manager = ocp.CheckpointManager(directory.resolve(), options=options)

    @property
    def _growing(self) -> tuple[Path, ...]:
        return (*self.replay_file.paths, *self.tables)

    def save(self, step: int, saved: Saved) -> None:
        """Syncs the replay's rows and the tables to the disk, then writes the checkpoint.

        Raises:
          OSError: if a file cannot be written; the checkpoints before stay whole.
        """
        self.replay_file.flush()
        self.checksums = {
            path.name: compute_checksum(path, self.checksums[path.name]) for path in self._growing
        }
        check_room(self.directory, saved.parts)
        disk = with_disk_names(saved.parts)
        parts = {name: ocp.args.StandardSave(tree) for name, tree in disk.items()}
        try:
            written = self.manager.save(step, args=ocp.args.Composite(**parts), force=True)
        except Exception as error:  # On a full disk the libraries below raise anything.
            raise SaveError(f"checkpoint {step} cannot be written: {first_line(error)}") from error
        assert written, f"checkpoint {step} was skipped"
        place = self.directory / str(step)
        inside = {str(path.relative_to(place)): compute_checksum(path) for path in _files(place)}
        shapes = {name: digest_shapes(tree) for name, tree in saved.parts.items()}
        growing = {"beside": self.checksums}
        record = {"loop": saved.record, **growing, "inside": inside, "shapes": shapes}
        write_record(place / RECORD, record)

    def close(self) -> None:
        """Closes the files."""
        self.manager.close()
        self.replay_file.close()

    def restore(self, like: dict[str, Any]) -> Saved:
        """Restores the last checkpoint that is whole.

        The replay's files and the tables are cut to what they had then, and later checkpoints are
        removed.

        Args:
          like: for each part a tree of arrays of the same structure, shapes and dtypes.
        Returns:
          The checkpoint, with NumPy arrays; without parts if nothing was ever saved.
        Raises:
          RestoreError: why each checkpoint cannot be used; no file is changed.
          OSError: if a file cannot be read at the moment; no file is changed.
        """
        found, damage = _find_whole(self.directory, self._check_growing)
        if found is None and damage and not _is_first_save(self.directory):
            raise RestoreError("no checkpoint can be used: " + "; ".join(damage))
        step, record = found or (0, {"beside": {path.name: EMPTY for path in self._growing}})
        parts = read_parts(self.directory / str(step), record, like) if found else {}
        for later in _steps(self.directory):
            if found is None or later > step:
                shutil.rmtree(self.directory / str(later))
        self.manager.reload()
        self.checksums = {name: Checksum(*pair) for name, pair in record["beside"].items()}
        for path in self.tables:
            cut_file(path, self.checksums[path.name])
        self.replay_file.restore(step)
        then = f"continues from checkpoint {step}" if found else "starts from the beginning"
        notes = tuple(f"{reason}; it is removed; {then}" for reason in damage)
        return Saved(parts, record["loop"] if found else {}, notes)

    def _check_growing(self, record: dict[str, Any]) -> None:
        for path in self._growing:
            check_file(path, Checksum(*record["beside"][path.name]))


def read_last(directory: Path, like: dict[str, Any]) -> Saved:
    """Reads the last whole checkpoint of a directory, which may be in use; writes nothing.

    Args:
      like: for each part to read a tree of the same structure, shapes and dtypes.
    Raises:
      RestoreError: if no checkpoint is whole.
      OSError: if a file cannot be read at the moment.
    """
    found, damage = _find_whole(directory, lambda record: None)
    if found is None:
        none = f"there is none in {directory}; a run saves its first after checkpoint_period steps"
        reasons = "; ".join(damage) or none
        raise RestoreError(f"no checkpoint can be used: {reasons}")
    step, record = found
    return Saved(read_parts(directory / str(step), record, like), record["loop"], tuple(damage))


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _find_whole(
    directory: Path, check: Callable[[dict[str, Any]], None]
) -> tuple[tuple[int, dict[str, Any]] | None, list[str]]:
    """Finds the last whole checkpoint; returns its step and record, and why later ones are not.

    Args:
      check: raises ValueError if the files outside the checkpoints do not fit a record.
    Raises:
      OSError: if a file cannot be read at the moment, which is no damage.
    """
    damage: list[str] = []
    for step in reversed(_steps(directory)):
        place = directory / str(step)
        try:
            if not exists(place / RECORD):
                raise ValueError(f"it has no {RECORD}: its save did not end")
            record = read_record(place / RECORD)
            for name, pair in record["inside"].items():
                check_file(place / name, Checksum(*pair))
            check(record)
            return (step, record), damage
        except (ValueError, KeyError, FileNotFoundError) as error:
            damage.append(f"checkpoint {step} cannot be used, {first_line(error)}")
    return None, damage


def _steps(directory: Path) -> list[int]:
    """Returns the steps that have a directory, ascending, whether it is whole or not."""
    if not exists(directory):
        return []
    with os.scandir(directory) as entries:  # `glob` would silently skip unreadable entries.
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal())


def _is_first_save(directory: Path) -> bool:
    """Returns whether the only checkpoint is one that a process was killed while it saved.

    Of several checkpoints, all but the last had a record: if none has one, records were lost.
    """
    steps = _steps(directory)
    return len(steps) == 1 and not exists(directory / str(steps[0]) / RECORD)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]
