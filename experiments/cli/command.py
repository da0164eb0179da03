"""How the commands start and end."""

import os
import sys
from collections.abc import Callable


def start(main: Callable[[list[str]], int]) -> None:
    """Runs a command's `main` on the command line's arguments, and exits with its status.

    Where the reader of a pipe has gone (`| head`), the command ends without a word, as others do;
    Ctrl-C ends it in one line, with 130.
    """
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes again at its end, into what is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141  # as of a command that SIGPIPE ended
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130  # as of a command that SIGINT ended
    sys.exit(status)
