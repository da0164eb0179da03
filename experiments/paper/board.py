"""What a terminal shows of several runs: each one's step and rate, and the time left for all."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from experiments.paper.found import read_intervals
from experiments.paper.queue import ACTIVE, State
from experiments.paper.tasks import Task
from experiments.paper.work import log_of

Rates = Mapping[tuple[str, str], float]


class Seen(NamedTuple):
    """How far a run is, and its steps a second, None before that can be told."""

    reached: int
    rate: float | None


def look(task: Task, state: State) -> Seen:
    """Where a task is, by its timings.csv."""
    reached, rate = task.reached, None
    if intervals := read_intervals(task.directory):
        first, last, seconds = intervals[-1]
        reached = max(last, task.reached)
        rate = (last - first) / seconds if first >= task.steps_before_updates else None
    return Seen(task.steps if state is State.DONE else reached, rate)


def time_left(tasks: Sequence[Task], seen: Mapping[Path, Seen], rates: Rates, jobs: int) -> str:
    """The time for what is left of tasks, `jobs` at once; of those that have no rate yet, how many.

    Args:
      rates: steps a second by environment and algorithm, as measured before.
    """
    rates = dict(rates)
    for task in tasks:
        if rate := seen[task.directory].rate:
            rates[task.env, task.algo] = rate
    each, without = [], 0
    for task in tasks:
        left = task.steps - seen[task.directory].reached
        rate = seen[task.directory].rate or rates.get((task.env, task.algo))
        if left > 0 and rate:
            each.append(left / rate)
        elif left > 0:
            without += 1
    unknown = f"no rate yet for {_count(without)}" if without else ""
    known = format_time(max(sum(each) / jobs, max(each))) if each else ""
    known += f" for {_count(len(each))}" if each and without else ""
    return ", ".join(filter(None, [known, unknown])) or "none"


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def format_time(seconds: float) -> str:
    """Minutes, hours or days, to two digits or so."""
    for unit, size in (("days", 86_400), ("h", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else "1 min"


class Board:
    """Shows states as they come: a block that is drawn anew, or plain lines where that cannot be.

    Of plain lines a run has one when it starts, at each evaluation, and when it ends.
    """

    def __init__(self, tasks: Sequence[Task], jobs: int, rates: Rates, output: TextIO):
        self.tasks, self.jobs, self.rates, self.output = tasks, jobs, rates, output
        self.states: dict[Path, State] = {task.directory: State.WAITING for task in tasks}
        self.seen = {task.directory: look(task, State.WAITING) for task in tasks}
        self.drawn: list[str] = []  # the block

    def show(self, states: Mapping[Path, State]) -> None:
        """Takes in where every task stands."""
        news = [task for task in self.tasks if self._is_news(task, states[task.directory])]
        if not self.output.isatty():
            for task in news:
                self._print(f"{self._line(task)}; {self._whole()}")
            return
        ended = [task for task in news if self.states[task.directory] not in ACTIVE]
        running = [task for task in self.tasks if self.states[task.directory] in ACTIVE]
        width = shutil.get_terminal_size().columns - 1  # A line that wraps could not be drawn over.
        block = [line[:width] for line in [*map(self._line, running), self._whole()]]
        if not ended and block == self.drawn:
            return
        up = f"\x1b[{len(self.drawn)}F\x1b[J" if self.drawn else ""
        self._print(up + "\n".join([*map(self._line, ended), *block]))
        self.drawn = block

    def _is_news(self, task: Task, state: State) -> bool:
        """Whether a task stands elsewhere than before; takes it in."""
        directory = task.directory
        before = self.states[directory], self.seen[directory].reached
        if state in ACTIVE or state is not before[0]:
            self.states[directory], self.seen[directory] = state, look(task, state)
        return before != (state, self.seen[directory].reached)

    def _line(self, task: Task) -> str:
        reached, rate = self.seen[task.directory]
        state = self.states[task.directory]
        facts = [f"{task.title}: step {reached:,} of {task.steps:,}"]
        if state is State.RUNNING:
            facts += [f"{rate:.0f} steps/s"] if rate else []
        elif state is State.FAILED:
            facts.append(f"failed: {last_line(task)} ({log_of(task)})")
        else:
            facts.append(WORDS[state])
        if state not in ACTIVE and (said := warnings_of(task)):
            facts.append(f"with {said} ({log_of(task)})")
        return ", ".join(facts)

    def _whole(self) -> str:
        done = sum(self.states[task.directory] is State.DONE for task in self.tasks)
        left = time_left(self.tasks, self.seen, self.rates, self.jobs)
        return f"{done} of {len(self.tasks)} done, time left: {left}"

    def _print(self, text: str) -> None:
        print(text, file=self.output, flush=True)


WORDS = {
    State.WAITING: "waits",
    State.STOPPING: "saves and stops",
    State.ENDING: "is killed",
    State.STOPPED: "stopped, and continues next time",
    State.DONE: "done",
    State.ELSEWHERE: "is computed by another process",
}


def last_line(task: Task) -> str:
    """What a task's process said last."""
    return (_said(task) or ["it said nothing"])[-1]


def warnings_of(task: Task) -> str:
    """How many warnings a task's processes gave; of a resume that is not exact, for instance."""
    count = sum(line.startswith("warning: ") for line in _said(task))
    return f"{count} {'warning' if count == 1 else 'warnings'}" if count else ""


def _said(task: Task) -> list[str]:
    try:
        return log_of(task).read_text(errors="replace").strip().splitlines()
    except OSError:
        return []
