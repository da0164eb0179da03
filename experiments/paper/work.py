"""Runs tasks as processes, several at once, until all are done or it is told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from experiments.paper.queue import ACTIVE, State, decide, outcome
from experiments.paper.tasks import Task
from experiments.run_dir.directory import LOG
from experiments.run_dir.lock import is_held

ROOT = Path(__file__).parents[2]
PAUSE = 0.5  # seconds between two looks at the processes

# A run that is told to stop finishes its step, an evaluation if that falls on it, and saves.
TIME_TO_SAVE = 30.0  # seconds
# And one that has not, as it compiles perhaps, is killed: what it saved before is good at any
# moment. This is for the system.
TIME_TO_END = 3.0


class Process(Protocol):
    """As much of `subprocess.Popen` as is used."""

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""

    def terminate(self) -> None:
        """Asks it to save and end."""

    def kill(self) -> None:
        """Ends it."""


class Limits(NamedTuple):
    """When runs are told to save and end, and when those that have not are killed."""

    stop: float = float("inf")
    end: float = float("inf")


def limits(begun: float, time_limit: float | None) -> Limits:
    """So that all is over `time_limit` seconds after it has begun; of a short one a quarter."""
    if time_limit is None:
        return Limits()
    over = begun + time_limit
    return Limits(
        over - min(TIME_TO_SAVE, time_limit / 4), over - min(TIME_TO_END, time_limit / 20)
    )


def launch(task: Task) -> subprocess.Popen:
    """Starts a task's process; what it says is added to a log in its run directory.

    It is in a session of its own: Ctrl-C is for this command, which then tells it once.
    """
    task.directory.mkdir(parents=True, exist_ok=True)
    # As of a clone, from wherever this command was given.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log_of(task).open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.run", *task.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )


def log_of(task: Task) -> Path:
    """Where a task's process tells what it does."""
    return task.directory / LOG


def work(
    tasks: Sequence[Task],
    jobs: int,
    *,
    limits: Limits,
    is_asked: Callable[[], bool],
    show: Callable[[dict[Path, State]], None],
    launch: Callable[[Task], Process] = launch,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Path, State]:
    """Computes tasks; returns where each stands in the end.

    Args:
      limits: by `now`.
      is_asked: whether a signal asked to stop.
      show: is given the states after every look at the processes.
    Raises:
      OSError: if a process cannot be started; the others are told to save and end.
    """
    states = dict.fromkeys((task.directory for task in tasks), State.WAITING)
    processes: dict[Path, Process] = {}
    try:
        while True:
            _take_ended(processes, states)
            stops, is_late = is_asked() or now() >= limits.stop, now() >= limits.end
            decision = decide(tasks, states, jobs, stops=stops, is_late=is_late)
            for task in decision.start:
                processes[task.directory] = launch(task)
                states[task.directory] = State.RUNNING
            for directory in decision.stop:
                is_first = states[directory] is State.RUNNING
                process = processes[directory]
                if is_first:
                    process.terminate()
                else:
                    process.kill()
                states[directory] = State.STOPPING if is_first else State.ENDING
            show(states)
            if decision.is_over:
                return states
            sleep(PAUSE)
    except BaseException:  # A terminal that has gone, a full disk: nothing goes on unseen.
        for directory, process in processes.items():
            if states[directory] is State.RUNNING:
                process.terminate()
        raise


def _take_ended(processes: Mapping[Path, Process], states: dict[Path, State]) -> None:
    """Takes in which processes have ended, and how."""
    for directory, process in processes.items():
        status = process.poll()
        if states[directory] in ACTIVE and status is not None:
            killed = states[directory] is State.ENDING and status == -signal.SIGKILL
            ended = outcome(status, status == 2 and is_held(directory))
            states[directory] = State.STOPPED if killed else ended
