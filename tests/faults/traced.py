"""A training process that records its phase, and may kill itself in one.

python -m tests.faults.traced PHASE_FILE [PHASE:COUNT:MILLISECONDS] -- FLAGS OF experiments.run

With PHASE:COUNT:MILLISECONDS it sends itself SIGKILL that long after it has entered the phase that
many times, or when it leaves the phase, whichever comes first. With TRACED_CLOCK=jumps in its
environment, its clock jumps by years.
"""

import functools
import itertools
import os
import signal
import sys
import threading
import time

PHASES = (
    "starting",
    "restoring",
    "compiling",
    "stepping",
    "evaluating",
    "saving",
    "drawing",
    "ended",
)


class Trace:
    """Keeps the phase of a process in a file that outlives it."""

    def __init__(self, path, kill):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.phase, self.entered = "", dict.fromkeys(PHASES, 0)
        self.kill = kill.split(":") if kill else ("", 0, 0)
        self.timer = None
        self.enter("starting")

    def enter(self, phase):
        if phase == self.phase:
            return
        if self.timer:
            self.timer.join()  # On a busy machine its thread comes late.
        os.pwrite(self.file, phase.ljust(12).encode(), 0)
        self.phase = phase
        self.entered[phase] += 1
        if phase == self.kill[0] and self.entered[phase] == int(self.kill[1]):
            delay = int(self.kill[2]) / 1000
            self.timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
            self.timer.daemon = True
            self.timer.start()

    def marks(self, function, phase, *, leaves=True, first=None):
        """Wraps a function as a phase, which without `leaves` continues after the call.

        Args:
          first: the phase of its first call, if another.
        """
        phases = itertools.chain([first or phase], itertools.repeat(phase))

        @functools.wraps(function)
        def marked(*arguments, **named):
            before = self.phase
            self.enter(next(phases))
            try:
                return function(*arguments, **named)
            finally:
                if leaves:
                    self.enter(before)

        return marked


def main(path, *arguments):
    # As from a terminal: a shell's background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("TRACED_CLOCK") == "jumps":
        days = itertools.cycle([0, 400, -4000, 30, -1])
        time.time = lambda: 1e9 + 86400 * next(days)
    split = arguments.index("--")
    trace = Trace(path, *(arguments[:split] or ("",)))
    from dsrl_jax.training import loop
    from dsrl_jax.training.checkpoints.checkpoint import Checkpoints
    from experiments import plot, run

    train = loop.train

    def traced_train(experiment, backend, stop):
        # A simulator on the device takes longer to compile than the whole run.
        first = "compiling" if experiment.brax else None
        advance = trace.marks(backend.advance, "stepping", leaves=False, first=first)
        evaluate = trace.marks(backend.evaluate, "evaluating", first=first)
        return train(experiment, backend._replace(advance=advance, evaluate=evaluate), stop)

    loop.train = traced_train
    Checkpoints.save = trace.marks(Checkpoints.save, "saving")
    Checkpoints.restore = trace.marks(Checkpoints.restore, "restoring")
    plot.draw_run = trace.marks(plot.draw_run, "drawing")
    status = run.main(list(arguments[split + 1 :]))
    trace.enter("ended")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
