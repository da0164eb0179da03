"""Computes checksums of files that may grow: a length, and the CRC-32 of that many bytes."""

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

# The file of a checkpoint that is written last; a checkpoint without it is not complete.
RECORD = "record.json"

# Ends the name of a file that is being written.
UNFINISHED = ".new"

# Bytes read at a time.
_CHUNK = 1 << 20


class Checksum(NamedTuple):
    """The CRC-32 of the first `size` bytes of a file."""

    size: int
    crc32: int


EMPTY = Checksum(0, 0)


def compute_checksum(path: Path, earlier: Checksum = EMPTY) -> Checksum:
    """Syncs a file to the disk and returns its checksum; of a file that does not exist, `EMPTY`.

    Args:
      earlier: a checksum of the file's beginning; only the bytes after it are read.
    """
    if not exists(path):
        return EMPTY
    with path.open("rb") as file:
        os.fsync(file.fileno())
        file.seek(earlier.size)
        size, crc32 = earlier
        while chunk := file.read(_CHUNK):
            size, crc32 = size + len(chunk), zlib.crc32(chunk, crc32)
    return Checksum(size, crc32)


def check_file(path: Path, checksum: Checksum) -> None:
    """Checks the beginning of a file, as far as the checksum covers it; ignores the rest.

    Raises:
      ValueError: if the file is shorter, or its beginning has changed.
    """
    size = path.stat().st_size if exists(path) else 0
    if size < checksum.size:
        raise ValueError(f"{path} holds {size:,} of {checksum.size:,} bytes")
    crc32, left = 0, checksum.size
    if left:
        with path.open("rb") as file:
            while left:
                chunk = file.read(min(left, _CHUNK))
                crc32, left = zlib.crc32(chunk, crc32), left - len(chunk)
    if crc32 != checksum.crc32:
        raise ValueError(f"{path} was changed: its checksum is another one")


def exists(path: Path) -> bool:
    """Returns whether a file exists. Raises OSError if that is unknown, unlike `Path.exists`."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def cut_file(path: Path, checksum: Checksum) -> None:
    """Cuts a file to the length of a checksum; removes it if that is 0."""
    if not checksum.size:
        path.unlink(missing_ok=True)
    elif path.stat().st_size > checksum.size:
        os.truncate(path, checksum.size)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Writes a record of plain numbers and words as JSON, together with its own checksum."""
    text = json.dumps(record)
    write_atomic(path, json.dumps({"record": record, "checksum": zlib.crc32(text.encode())}))


def read_record(path: Path) -> dict[str, Any]:
    """Reads what `write_record` wrote. Raises ValueError if it was changed."""
    try:
        content = json.loads(path.read_bytes())
        record, checksum = content["record"], content["checksum"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if zlib.crc32(json.dumps(record).encode()) != checksum:
        raise ValueError(f"{path} was changed: its checksum is another one")
    return record


def write_atomic(path: Path, text: str) -> None:
    """Writes a text file; a kill at any moment leaves the whole file or the one before.

    On return the file is on the disk under its name.
    """
    temporary = path.with_name(path.name + UNFINISHED)
    with temporary.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Syncs the names in a directory to the disk; to sync a file syncs only its contents."""
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # File systems that cannot sync a directory raise this.
            raise
    finally:
        os.close(number)
