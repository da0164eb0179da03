"""Runs tasks as processes, several at once, and stops them in time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from experiments.paper.tasks import Task
from experiments.run_dir.directory import LOG
from experiments.run_dir.lock import is_held

ROOT = Path(__file__).parents[2]
PAUSE = 0.5  # seconds between two looks at the processes

# Seconds before the time limit at which runs are asked to save: a run finishes its step first,
# and the evaluation of that step.
TIME_TO_SAVE = 30.0
# Seconds before the limit at which runs that still compile or save are killed. They continue from
# their last checkpoint.
TIME_TO_KILL = 3.0


class Outcome(Enum):
    """How the process of a task ended."""

    DONE = "done"
    STOPPED = "stopped; the same command continues it"
    FAILED = "failed"
    ELSEWHERE = "in use by another process"


class Limits(NamedTuple):
    """Times at which runs are asked to save and end, and at which the others are killed."""

    stop: float = float("inf")
    kill: float = float("inf")


def make_limits(begun: float, time_limit: float | None) -> Limits:
    """Returns limits by which all runs have ended `time_limit` seconds after `begun`.

    At most a quarter of the time is reserved for saving.
    """
    if time_limit is None:
        return Limits()
    end = begun + time_limit
    return Limits(end - min(TIME_TO_SAVE, time_limit / 4), end - min(TIME_TO_KILL, time_limit / 20))


def launch(task: Task) -> subprocess.Popen:
    """Starts the process of a task; appends its output to a log in its run directory.

    The process runs in a new session, so that Ctrl-C reaches only this command, which then asks
    each process once to stop.
    """
    task.directory.mkdir(parents=True, exist_ok=True)
    # Imports `experiments` from this clone, independently of the working directory.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (task.directory / LOG).open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.run", *task.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    *,
    limits: Limits,
    is_stop_requested: Callable[[], bool],
    show: Callable[[Collection[Path], Mapping[Path, Outcome]], None],
    launch: Callable[[Task], subprocess.Popen] = launch,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Path, Outcome]:
    """Computes tasks, `jobs` at once; returns the outcomes of all that were started.

    Begun tasks start first. A task does not start if the policy that it needs could not be trained.

    Args:
      limits: on the clock `now`.
      show: called after each look at the processes, with the running directories and all outcomes.
    Raises:
      OSError: if a process cannot be started; the others are asked to save and end.
    """
    waiting = sorted(tasks, key=lambda task: task.reached == 0)
    running: dict[Path, subprocess.Popen] = {}
    outcomes: dict[Path, Outcome] = {}
    is_stopping = is_killing = False
    try:
        while True:
            for directory, process in list(running.items()):
                if (status := process.poll()) is not None:
                    del running[directory]
                    outcomes[directory] = outcome_of(status, directory, is_killing)
            if is_stopping and now() >= limits.kill:
                is_killing = True
                _send_all(running, signal.SIGKILL)
            elif not is_stopping and (is_stop_requested() or now() >= limits.stop):
                is_stopping = True
                _send_all(running, signal.SIGTERM)
            elif not is_stopping:
                for task in _ready(tasks, waiting, outcomes)[: jobs - len(running)]:
                    waiting.remove(task)
                    running[task.directory] = launch(task)
            show(running, outcomes)
            if not running:
                return outcomes
            sleep(PAUSE)
    except BaseException:  # A closed terminal, a full disk: no run continues unwatched.
        if not is_stopping:  # A second SIGTERM would end a run before it has saved.
            _send_all(running, signal.SIGTERM)
        raise


def _send_all(running: Mapping[Path, subprocess.Popen], number: signal.Signals) -> None:
    for process in running.values():
        process.send_signal(number)


def _ready(
    tasks: Sequence[Task], waiting: Sequence[Task], outcomes: Mapping[Path, Outcome]
) -> list[Task]:
    """Returns the waiting tasks whose policy, if they need one, is trained."""
    pending = {task.directory for task in tasks if outcomes.get(task.directory) is not Outcome.DONE}
    return [task for task in waiting if task.needs not in pending]


def outcome_of(status: int, directory: Path, was_killed: bool = False) -> Outcome:
    """Returns the outcome of a task whose process ended with an exit status.

    Args:
      was_killed: whether this command sent SIGKILL.
    """
    if status == 0:
        return Outcome.DONE
    # -2 and -15: the signal came before the process could handle it.
    if status in (130, 143, -signal.SIGINT, -signal.SIGTERM):
        return Outcome.STOPPED
    if was_killed and status == -signal.SIGKILL:
        return Outcome.STOPPED
    return Outcome.ELSEWHERE if status == 2 and is_held(directory) else Outcome.FAILED
