"""One process writes to a run directory at a time."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from experiments.run_dir.directory import DirectoryError

NAME = "lock"
# File systems without locks: nothing can be said there of other processes.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
# The lock files that are open in this process.
_held: set[TextIO] = set()


def _close_all() -> None:
    for file in _held:
        file.close()


# What is forked in C alone (`system`, libraries) starts another program, which gets no such file.
os.register_at_fork(after_in_child=_close_all)


def is_held(directory: Path) -> bool:
    """Whether another process holds a directory now."""
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
    """Holds a directory, which is made if there is none, as long as the block runs.

    The system lets go of it with the process, however that ends: a child that the process forked
    would hold it too, and longer, so a child closes its copy at once.

    Raises:
      DirectoryError: if another process holds it, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((directory / NAME).open("a+"))
            _held.add(file)
            stack.callback(_held.discard, file)
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
            with contextlib.suppress(OSError):  # A full disk: it is told by what needs the room.
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
        yield
