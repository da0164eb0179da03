"""SIGTERM and Ctrl-C ask a run to finish its step, save and end."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SAID = b"stops after this step and saves; once more ends at once\n"


class StopRequest:
    """Takes the signals while its block runs; a second one ends the process at once.

    A signal that is ignored stays so: a shell's background jobs are not meant by Ctrl-C.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> "StopRequest":
        # Python gives signals to the main thread alone.
        if threading.current_thread() is threading.main_thread():
            taken = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
            self.before = {number: signal.signal(number, self._take) for number in taken}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def is_made(self) -> bool:
        """Whether a signal came."""
        return self.number is not None

    @property
    def status(self) -> int:
        """The exit status of a process that a signal stopped: 143 for SIGTERM, 130 for Ctrl-C."""
        return 128 + (self.number or 0)

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number is not None:
            os._exit(128 + number)  # Safe: what is on the disk is good at any moment.
        self.number = number
        os.write(2, _SAID)  # A signal may come while Python writes to stderr itself.


@contextlib.contextmanager
def ends_on_interrupt() -> Iterator[None]:
    """Lets Ctrl-C end the process at once with 130, where there is nothing to save.

    An exception would not do: JAX calls Python while it collects garbage, and loses it there.
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
    os.write(2, b"interrupted; the same command goes on from the last checkpoint, if any\n")
    os._exit(128 + number)
