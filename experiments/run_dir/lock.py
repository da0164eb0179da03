"""Locks a run directory, so that one process at a time writes to it."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from experiments.run_dir.directory import DirectoryError

NAME = "lock"
# On file systems without locks, other processes cannot be detected.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
# The open lock files of this process.
_open_locks: set[TextIO] = set()


def _close_all() -> None:
    for file in _open_locks:
        file.close()


# A fork from C (`system`, libraries) starts another program, which does not inherit the file.
os.register_at_fork(after_in_child=_close_all)


def is_held(directory: Path) -> bool:
    """Returns whether another process has locked a directory."""
    try:
        with (directory / NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Locks a directory while the block runs; makes the directory if it does not exist.

    The system releases the lock when the process ends, even if it is killed. A forked child would
    keep the lock, so it closes its copy at once.

    Raises:
      DirectoryError: if another process has locked it, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((directory / NAME).open("a+"))
            _open_locks.add(file)
            stack.callback(_open_locks.discard, file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise DirectoryError(
                f"{directory} is in use by process {file.read().strip() or 'unknown'}; "
                "wait for its end, or choose another --run_dir"
            ) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                reason = (error.strerror or str(error)).lower()
                raise DirectoryError(
                    f"run_dir {str(directory)!r} cannot be written: {reason}; "
                    "choose another --run_dir"
                ) from error
        else:
            with contextlib.suppress(OSError):  # A full disk: reported by what needs the space.
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
        yield
