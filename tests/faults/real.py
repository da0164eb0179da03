"""Faults of real training processes, each a row of a table."""

import contextlib
import re
import resource
import shutil
import signal
import subprocess
import time
from typing import NamedTuple

from tests.faults.injected import EQUAL, FAULTS, INTACT, contents, injected
from tests.faults.processes import RUN, differing, ended, phase_of, start
from tests.faults.test_killed import COMMAND

SAVED = "saves, and the same command then " + EQUAL
CONTINUES = "the same command then " + EQUAL


class Row(NamedTuple):
    """One fault and its outcome."""

    fault: str
    status: int
    said: str
    outcome: str
    is_good: bool


def rows(place):
    """Yields a row for every fault; trains a whole run and one that is killed first."""
    whole, stopped = place / "whole", place / "stopped"
    end = ended(start(whole, COMMAND), whole)
    assert end.status == 0, end.errors
    end = ended(start(stopped, COMMAND, "saving:4:0"), stopped)
    assert end.phase == "saving", end
    for number, (name, fault) in enumerate(FAULTS.items()):
        here = place / f"fault_{number}"
        shutil.copytree(stopped / RUN, here / RUN)
        yield _inject(name, fault, here, whole)
    for number, (name, signals, status) in enumerate(SIGNALS):
        yield _signal(name, signals, status, place / f"signal_{number}", whole)
    yield _jump(place / "clock", whole)
    yield _lose_worker(place / "worker")
    for kilobytes in (2, 4, 8):
        name = f"no file may grow beyond {kilobytes} kB"
        yield _fill(name, place / f"limit_{kilobytes}", whole, limit=kilobytes * 1000)
    for kilobytes in (60, 600, 1200):
        here = place / f"disk_{kilobytes}"
        with small_disk(here / RUN, kilobytes) as grow:
            if grow:
                yield _fill(f"a disk of {kilobytes} kB is full", here, whole, mend=grow)


def _inject(name, fault, here, whole):
    with injected(fault, here / RUN):
        before = contents(here / RUN)
        end = ended(start(here, COMMAND), here)
        is_good = end.status == fault.status and bool(re.search(fault.says, end.errors))
        if fault.outcome == INTACT:
            is_good &= contents(here / RUN) == before
        if fault.outcome == EQUAL:
            is_good &= differing(here, whole) == []
    return Row(name, end.status, _said(end, here), fault.outcome, is_good)


SIGNALS = (
    ("SIGTERM", [signal.SIGTERM], 143),
    ("Ctrl-C", [signal.SIGINT], 130),
    ("SIGTERM, and at once again", [signal.SIGTERM, signal.SIGTERM], 143),
    ("Ctrl-C while it starts", [signal.SIGINT], 130),
)


def _signal(name, signals, status, here, whole):
    starts = "starts" in name
    process = start(here, COMMAND, is_traced=not starts)
    if starts:
        # The directory is locked, and the trainer is being imported.
        while not (here / RUN / "lock").exists():
            time.sleep(0.002)
        time.sleep(0.1)
    else:
        while phase_of(here) != "stepping":
            time.sleep(0.002)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    end = ended(process, here)
    again = ended(start(here, COMMAND), here)
    is_good = end.status == status and again.status == 0 and differing(here, whole) == []
    is_saved = "and saved" in end.errors
    return Row(name, end.status, _said(end, here), SAVED if is_saved else CONTINUES, is_good)


def _jump(here, whole):
    """Kills a process with a clock that jumps, and continues with another one."""
    end = ended(start(here, COMMAND, "saving:3:0", TRACED_CLOCK="jumps"), here)
    again = ended(start(here, COMMAND, TRACED_CLOCK="jumps"), here)
    is_good = end.status == -signal.SIGKILL and again.status == 0 and differing(here, whole) == []
    name = "the clock jumps by years, and SIGKILL while saving"
    return Row(name, end.status, _said(again, here), CONTINUES, is_good)


def _lose_worker(here):
    """The worker process of an environment dies after 29 steps."""
    worker = "--env=tests.toy_environments:DyingWorker-v0"
    end = ended(start(here, [*COMMAND, worker]), here)
    names = sorted(path.name for path in (here / RUN / "checkpoints").iterdir())
    is_good = end.status == 1 and "the environment failed" in end.errors and names == ["20"]
    name = "an environment's worker process dies"
    return Row(name, end.status, _said(end, here), "the checkpoint before stays", is_good)


def _fill(name, here, whole, *, limit=None, mend=contextlib.nullcontext):
    """Runs into a limit of the disk, and again without the limit."""
    # Compiled programs are kept in files, too.
    process = start(here, COMMAND, JAX_ENABLE_COMPILATION_CACHE="false")
    if limit:
        limits = (limit, resource.RLIM_INFINITY)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
    end = ended(process, here)
    is_good = end.status == 1 and len(_said(end, here).split(" / ")) == 1
    with mend():
        again = ended(start(here, COMMAND), here)
        is_good &= again.status == 0 and differing(here, whole) == []
    return Row(name, end.status, _said(end, here), CONTINUES, is_good)


@contextlib.contextmanager
def small_disk(path, kilobytes):
    """Mounts a file system of that size; gives a context that makes it larger, or None."""
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return

    @contextlib.contextmanager
    def grow():
        subprocess.run(["mount", "-o", "remount,size=50m", str(path)], check=True)
        yield

    try:
        yield grow
    finally:
        subprocess.run(["umount", str(path)], check=True)


def _said(end, here):
    """Returns the lines of stderr but progress, joined, without the directory's path."""
    lines = [line for line in end.errors.splitlines() if not line.startswith("step ")]
    return " / ".join(lines).replace(f"{here.resolve()}/", "")
