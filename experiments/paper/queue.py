"""Which runs to start and to stop: a function of where each of them stands."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from experiments.paper.tasks import Task


class State(Enum):
    """Where a task of this command stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"  # asked to save and end
    ENDING = "ending"  # killed, as it did not save in time
    STOPPED = "stopped"  # ended before its end, and goes on from what it saved
    DONE = "done"
    FAILED = "failed"
    ELSEWHERE = "elsewhere"  # another process computes it


ACTIVE = (State.RUNNING, State.STOPPING, State.ENDING)


class Decision(NamedTuple):
    """What to do now.

    start: tasks to start
    stop: directories whose process is to be told to stop, or if it was told, to be killed
    is_over: nothing runs, and nothing can be started
    """

    start: tuple[Task, ...] = ()
    stop: tuple[Path, ...] = ()
    is_over: bool = False


def decide(
    tasks: Sequence[Task],
    states: Mapping[Path, State],
    jobs: int,
    *,
    stops: bool = False,
    is_late: bool = False,
) -> Decision:
    """What to do with tasks in these states.

    What was begun goes first, then what comes first; what needs a policy waits for that.

    Args:
      jobs: how many may run at once.
      stops: whether all shall save and end.
      is_late: whether those that were told so shall be killed.
    """
    active = [task for task in tasks if states[task.directory] in ACTIVE]
    if stops:
        told = (State.RUNNING, State.STOPPING) if is_late else (State.RUNNING,)
        stop = [task.directory for task in active if states[task.directory] in told]
        return Decision(stop=tuple(stop), is_over=not active)
    ready = [
        task
        for task in tasks
        if states[task.directory] is State.WAITING
        and (task.needs is None or states.get(task.needs, State.DONE) is State.DONE)
    ]
    first = sorted(ready, key=lambda task: task.reached == 0)
    start = first[: max(jobs - len(active), 0)]
    return Decision(start=tuple(start), is_over=not active and not start)


def outcome(status: int, is_held: bool) -> State:
    """The state of a task whose process ended with this exit status.

    Args:
      is_held: whether another process holds its run directory.
    """
    if status == 0:
        return State.DONE
    if status in (130, 143, -2, -15):  # As it saved, or before it could take the signal.
        return State.STOPPED
    return State.ELSEWHERE if status == 2 and is_held else State.FAILED
