"""Starts and ends commands: exit statuses, closed pipes, SIGTERM and Ctrl-C."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def start(main: Callable[[list[str]], int]) -> None:
    """Runs a command's `main` on the command line's arguments, and exits with its status.

    A closed pipe (`| head`) ends the command silently with 141, as other programs do; Ctrl-C ends
    it with one line and 130.
    """
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes again when it ends, and the pipe is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141  # the status after SIGPIPE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130  # the status after SIGINT
    sys.exit(status)


class StopRequest:
    """Catches SIGTERM and Ctrl-C while its block runs; a second signal ends the process at once.

    An ignored signal stays ignored: Ctrl-C is not meant for a shell's background jobs.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> "StopRequest":
        # Only the main thread may set signal handlers.
        if threading.current_thread() is threading.main_thread():
            caught = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
            self.before = {number: signal.signal(number, self._handle) for number in caught}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def is_made(self) -> bool:
        """Returns whether a signal came."""
        return self.number is not None

    @property
    def status(self) -> int:
        """The exit status of a stopped process: 143 after SIGTERM, 130 after Ctrl-C."""
        return 128 + (self.number or 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number is not None:
            os._exit(128 + number)  # Safe: the files are valid at any moment.
        self.number = number
        # Not by `print`: the signal may come while Python itself writes to stderr.
        os.write(2, b"stops after this step and saves; once more ends at once\n")


@contextlib.contextmanager
def ends_on_interrupt() -> Iterator[None]:
    """Makes Ctrl-C end the process at once with 130, while there is nothing to save.

    An exception is not enough: JAX calls Python during garbage collection and loses it there.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    os.write(2, b"interrupted; the same command continues from the last checkpoint, if any\n")
    os._exit(128 + number)
