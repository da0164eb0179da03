"""Seals of files: how long a file was, and the checksum of what it held then.

A sealed file may grow; what was sealed of it may not change.
"""

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

# Of a checkpoint the file that is written last: with it, the checkpoint is there.
RECORD = "record.json"

# A file that is being written has this behind its name.
UNFINISHED = ".new"

# Bytes read at a time.
_CHUNK = 1 << 20


class Seal(NamedTuple):
    """The first `size` bytes of a file, and their CRC-32."""

    size: int
    checksum: int


EMPTY = Seal(0, 0)


def seal_file(path: Path, earlier: Seal = EMPTY) -> Seal:
    """Brings a file to the disk and seals it; reads only what came after an earlier seal.

    A file that does not exist is sealed as an empty one.
    """
    if not exists(path):
        return EMPTY
    with path.open("rb") as file:
        os.fsync(file.fileno())
        file.seek(earlier.size)
        size, checksum = earlier
        while chunk := file.read(_CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return Seal(size, checksum)


def check_seal(path: Path, seal: Seal) -> None:
    """Holds the beginning of a file to its seal.

    Raises:
      ValueError: says how the file differs from what was sealed.
    """
    held = path.stat().st_size if exists(path) else 0
    if held < seal.size:
        raise ValueError(f"{path} holds {held:,} of {seal.size:,} bytes")
    checksum, left = 0, seal.size
    if left:
        with path.open("rb") as file:
            while left:
                chunk = file.read(min(left, _CHUNK))
                checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
    if checksum != seal.checksum:
        raise ValueError(f"{path} was changed: its checksum is another one")


def exists(path: Path) -> bool:
    """Whether a file exists; one that cannot be looked at raises OSError, as `exists` may not."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def cut_file(path: Path, seal: Seal) -> None:
    """Cuts a file to what was sealed; one that was sealed empty is removed."""
    if not seal.size:
        path.unlink(missing_ok=True)
    elif path.stat().st_size > seal.size:
        os.truncate(path, seal.size)


def write_sealed(path: Path, record: dict[str, Any]) -> None:
    """Writes a record of plain numbers and words as JSON, with a checksum of its own."""
    text = json.dumps(record)
    sealed = {"record": record, "checksum": zlib.crc32(text.encode())}
    write_atomic(path, json.dumps(sealed))


def read_sealed(path: Path) -> dict[str, Any]:
    """A record as it was written.

    Raises:
      ValueError: if it was changed.
    """
    try:
        held = json.loads(path.read_bytes())
        record, checksum = held["record"], held["checksum"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if zlib.crc32(json.dumps(record).encode()) != checksum:
        raise ValueError(f"{path} was changed: its checksum is another one")
    return record


def write_atomic(path: Path, text: str) -> None:
    """Writes a line or more so that the file is there whole, or as it was before.

    On return it is on the disk under its name, so that what it names may be built upon.
    """
    temporary = path.with_name(path.name + UNFINISHED)
    with temporary.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Brings the names in a directory to the disk; syncing a file brings its contents alone."""
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # File systems that cannot sync a directory say so.
            raise
    finally:
        os.close(number)
