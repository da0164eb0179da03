"""Checkpoints of a run: arrays and a small record, there whole or not at all; three are kept.

Orbax writes the arrays; record.json beside them comes last and makes the checkpoint one. It seals
the arrays' files, and the files that only grow: the replay's and the tables. So a damaged file is
noticed before anything is read from it.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import orbax.checkpoint as ocp

from dsrl_jax.training.checkpoints.checksums import (
    EMPTY,
    RECORD,
    Seal,
    check_seal,
    cut_file,
    exists,
    read_sealed,
    seal_file,
    write_sealed,
)

KEPT = 3


class GrowingFiles(Protocol):
    """Files beside the checkpoints that only grow, such as a replay's."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where they are."""

    def flush(self) -> None:
        """Brings everything to the disk."""

    def restore(self, steps: int) -> None:
        """Cuts the files to what they held after that many steps."""

    def close(self) -> None:
        """Closes the files."""


Files = TypeVar("Files", bound=GrowingFiles)


class Saved(NamedTuple):
    """What a checkpoint holds.

    parts: trees of arrays by name; each can be read without the others; none where nothing was
      saved yet
    record: numbers of the loop
    notes: what a reader has to be told of checkpoints that could not be used
    """

    parts: dict[str, Any]
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


class RestoreError(ValueError):
    """Checkpoints of which none can be used."""


class SaveError(OSError):
    """A checkpoint that could not be written."""


class Checkpoints(Generic[Files]):
    """The checkpoints of one run, the replay's files and the tables that they name.

    Args:
      directory: of the checkpoints alone; made if there is none.
      tables: files to which the reader of a loop appends its rows; a checkpoint names what they
        hold when it is made, and they are cut to that when it is restored.
    """

    def __init__(self, directory: Path, replay_file: Files, tables: tuple[Path, ...] = ()):
        self.directory, self.replay_file, self.tables = directory, replay_file, tables
        self.seals = {path.name: EMPTY for path in self._beside}
        directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            create=False,
            multiprocessing_options=_this_process(),
            cleanup_tmp_directories=True,  # of a process that was killed while it wrote
            enable_async_checkpointing=False,
        )
        self.manager = ocp.CheckpointManager(directory.resolve(), options=options)

    @property
    def _beside(self) -> tuple[Path, ...]:
        return (*self.replay_file.paths, *self.tables)

    def save(self, step: int, saved: Saved) -> None:
        """Brings the replay's rows and the tables to the disk, then the checkpoint that names them.

        Raises:
          OSError: if the disk does not take them; the checkpoints before are whole.
        """
        self.replay_file.flush()
        self.seals = {path.name: seal_file(path, self.seals[path.name]) for path in self._beside}
        _check_room(self.directory, saved.parts)
        parts = {name: ocp.args.StandardSave(tree) for name, tree in saved.parts.items()}
        try:
            written = self.manager.save(step, args=ocp.args.Composite(**parts), force=True)
        except Exception as error:  # The libraries below raise whatever a full disk makes of them.
            raise SaveError(f"checkpoint {step} cannot be written: {first_line(error)}") from error
        assert written, f"checkpoint {step} was skipped"
        place = self.directory / str(step)
        inside = {str(path.relative_to(place)): seal_file(path) for path in _files(place)}
        shapes = {name: _shapes(tree) for name, tree in saved.parts.items()}
        record = {"loop": saved.record, "beside": self.seals, "inside": inside, "shapes": shapes}
        write_sealed(place / RECORD, record)

    def close(self) -> None:
        """Releases the files."""
        self.manager.close()
        self.replay_file.close()

    def restore(self, like: dict[str, Any]) -> Saved:
        """The last checkpoint that is whole, or one without parts if there never was one.

        Files are cut to what it names, and what there is of later checkpoints is removed.

        Args:
          like: for each part a tree of arrays of the same structure, shapes and dtypes.
        Raises:
          RestoreError: says of each checkpoint why it cannot be used; no file is changed.
          OSError: if a file cannot be read for now; no file is changed.
        """
        found, damage = _find_whole(self.directory, self._check_beside)
        if found is None and damage and not _is_first_save(self.directory):
            raise RestoreError("no checkpoint can be used: " + "; ".join(damage))
        step, record = found or (0, {"beside": {path.name: EMPTY for path in self._beside}})
        parts = _read_parts(self.directory / str(step), record, like) if found else {}
        for later in _steps(self.directory):
            if found is None or later > step:
                shutil.rmtree(self.directory / str(later))
        self.manager.reload()
        self.seals = {name: Seal(*seal) for name, seal in record["beside"].items()}
        for path in self.tables:
            cut_file(path, self.seals[path.name])
        self.replay_file.restore(step)
        then = f"continues from checkpoint {step}" if found else "starts anew"
        notes = tuple(f"{reason}; it is removed; {then}" for reason in damage)
        return Saved(parts, record["loop"] if found else {}, notes)

    def _check_beside(self, record: dict[str, Any]) -> None:
        for path in self._beside:
            check_seal(path, Seal(*record["beside"][path.name]))


def read_last(directory: Path, like: dict[str, Any]) -> Saved:
    """The last whole checkpoint of a directory, which may be in use; writes nothing.

    Args:
      like: trees of the parts that are wanted.
    Raises:
      RestoreError: if there is none.
      OSError: if a file cannot be read for now.
    """
    found, damage = _find_whole(directory, lambda record: None)
    if found is None:
        none = f"there is none in {directory}; a run saves its first after checkpoint_period steps"
        reasons = "; ".join(damage) or none
        raise RestoreError(f"no checkpoint can be used: {reasons}")
    step, record = found
    return Saved(_read_parts(directory / str(step), record, like), record["loop"], tuple(damage))


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _find_whole(
    directory: Path, check: Callable[[dict[str, Any]], None]
) -> tuple[tuple[int, dict[str, Any]] | None, list[str]]:
    """The last whole checkpoint's step and record, and why each later one is not whole.

    Args:
      check: raises ValueError if the files beside the checkpoints are not those of a record.
    Raises:
      OSError: if a file cannot be read for now, which says nothing of what it holds.
    """
    damage: list[str] = []
    for step in reversed(_steps(directory)):
        place = directory / str(step)
        try:
            if not exists(place / RECORD):
                raise ValueError(f"it has no {RECORD}: its save did not end")
            record = read_sealed(place / RECORD)
            for name, seal in record["inside"].items():
                check_seal(place / name, Seal(*seal))
            check(record)
            return (step, record), damage
        except (ValueError, KeyError, FileNotFoundError) as error:
            damage.append(f"checkpoint {step} cannot be used, {first_line(error)}")
    return None, damage


def _steps(directory: Path) -> list[int]:
    """Steps of which there is a directory, ascending; whole or not."""
    if not exists(directory):
        return []
    with os.scandir(directory) as entries:  # `glob` would leave out what it may not look into.
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal())


def _is_first_save(directory: Path) -> bool:
    """Whether all there is was left by a process that was killed in its first save.

    Of more than one, all but the last had a record once: without any, records were lost.
    """
    steps = _steps(directory)
    return len(steps) == 1 and not exists(directory / str(steps[0]) / RECORD)


def _read_parts(place: Path, record: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Parts of a whole checkpoint. Raises RestoreError: they are of other shapes."""
    for name, tree in like.items():
        if record["shapes"].get(name) != _shapes(tree):  # Orbax would fill or cut such arrays.
            raise RestoreError(f"{place / name} is of other networks, or of another version")
    template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with ocp.StandardCheckpointer(multiprocessing_options=_this_process()) as checkpointer:
        return {name: checkpointer.restore(place.resolve() / name, template[name]) for name in like}


def _this_process() -> ocp.options.MultiprocessingOptions:
    """Of several that train one run, the one that is here saves and waits for no other."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


def _shapes(tree: Any) -> str:
    """A digest of a tree's structure: each leaf's place, shape and dtype."""
    leaves = jax.tree.leaves_with_path(tree)
    told = [(jax.tree_util.keystr(place), leaf.shape, str(leaf.dtype)) for place, leaf in leaves]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _check_room(directory: Path, parts: Any) -> None:
    """Holds the disk to have room for a checkpoint, by taking it and giving it back.

    Where Orbax finds a disk full, each of its threads tells it in many lines.

    Raises:
      OSError: if there is none.
    """
    leaves = jax.tree.leaves(parts)
    # Twice the arrays, which are gathered when all are written, and a block for each one's name.
    needed = 2 * sum(leaf.nbytes for leaf in leaves) + 4096 * (len(leaves) + 64)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    path = directory / "room"
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, needed)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveError(f"no room for a checkpoint of {needed:,} bytes: {reason}") from error
    finally:
        path.unlink(missing_ok=True)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]
