"""Which runs are started and stopped, by a function of their states and with a fake runner."""

import signal
from pathlib import Path

import pytest

from experiments.paper import work as working
from experiments.paper.queue import Decision, State, decide, outcome
from experiments.paper.tasks import Task
from experiments.paper.work import Limits, limits, work


def make_task(name, *, reached=0, needs=None):
    directory = Path("runs") / name
    return Task(directory, (), "Ant-v5", "td3", 100, reached, 10, needs and Path("runs") / needs)


def decided(tasks, states, jobs=2, **arguments):
    by_directory = {task.directory: state for task, state in zip(tasks, states, strict=True)}
    decision = decide(tasks, by_directory, jobs, **arguments)
    stop = [directory.name for directory in decision.stop]
    return [task.name for task in decision.start], stop, decision.is_over


WAITING, RUNNING, DONE = State.WAITING, State.RUNNING, State.DONE
A, B, C = make_task("a"), make_task("b"), make_task("c")


def test_as_many_run_as_may():
    assert decided([A, B, C], [WAITING] * 3) == (["a", "b"], [], False)
    assert decided([A, B, C], [RUNNING, WAITING, WAITING]) == (["b"], [], False)
    assert decided([A, B, C], [RUNNING, RUNNING, WAITING]) == ([], [], False)
    assert decided([A, B, C], [DONE, State.STOPPING, WAITING], 1) == ([], [], False)
    assert decided([A, B, C], [DONE, RUNNING, WAITING], 5) == (["c"], [], False)


def test_what_was_begun_goes_first():
    begun = make_task("begun", reached=7)
    assert decided([A, B, begun], [WAITING] * 3)[0] == ["begun", "a"]


@pytest.mark.parametrize("end", [DONE, State.FAILED, State.STOPPED, State.ELSEWHERE])
def test_it_is_over_when_nothing_runs_and_nothing_waits(end):
    assert decided([A, B], [end, DONE]) == ([], [], True)
    assert decided([A, B], [end, RUNNING]) == ([], [], False)
    assert decide([], {}, 2) == Decision(is_over=True)


def test_what_needs_a_policy_waits_for_it_and_for_it_alone():
    needing = make_task("needing", needs="a")
    assert decided([A, needing, B], [WAITING] * 3)[0] == ["a", "b"]
    assert decided([A, needing, B], [RUNNING, WAITING, DONE]) == ([], [], False)
    assert decided([A, needing, B], [DONE, WAITING, WAITING])[0] == ["needing", "b"]
    # A policy that is there already is no task.
    assert decided([needing], [WAITING])[0] == ["needing"]


@pytest.mark.parametrize("end", [State.FAILED, State.STOPPED, State.ELSEWHERE])
def test_without_its_policy_a_run_is_not_started(end):
    assert decided([A, make_task("needing", needs="a")], [end, WAITING]) == ([], [], True)


def test_a_stop_is_told_once_and_late_once_more():
    tasks, states = [A, B, C], [RUNNING, State.STOPPING, WAITING]
    assert decided(tasks, states, 3, stops=True) == ([], ["a"], False)
    assert decided(tasks, states, 3, stops=True, is_late=True) == ([], ["a", "b"], False)
    ending = [State.ENDING, State.ENDING, WAITING]
    assert decided(tasks, ending, 3, stops=True, is_late=True) == ([], [], False)
    ended = [State.STOPPED, DONE, WAITING]
    assert decided(tasks, ended, 3, stops=True) == ([], [], True)


@pytest.mark.parametrize(
    ("status", "is_held", "state"),
    [
        (0, False, DONE),
        (1, False, State.FAILED),
        (2, False, State.FAILED),
        (2, True, State.ELSEWHERE),
        (143, False, State.STOPPED),
        (130, False, State.STOPPED),
        (-15, False, State.STOPPED),  # before it could take the signal
        (-9, False, State.FAILED),  # the system lacks memory
    ],
)
def test_an_exit_status_says_what_came_of_a_run(status, is_held, state):
    assert outcome(status, is_held) is state


class Machine:
    """Runs tasks by a clock of its own: each takes as many seconds as it is long."""

    def __init__(self, *, seconds=10.0, saving=2.0, statuses=None):
        self.time, self.seconds, self.saving = 0.0, seconds, saving
        self.statuses = statuses or {}  # by name, where it is not 0
        self.log, self.most = [], 0
        self.processes = {}

    def launch(self, task):
        self.log.append((self.time, "start", task.name))
        self.processes[task.name] = process = Process(self, task.name)
        running = [each for each in self.processes.values() if each.poll() is None]
        self.most = max(self.most, len(running))
        return process

    def sleep(self, seconds):
        self.time += seconds

    def work(self, tasks, jobs=2, stop_at=None, **arguments):
        states = work(
            tasks,
            jobs,
            limits=arguments.get("limits", Limits()),
            is_asked=lambda: stop_at is not None and self.time >= stop_at,
            show=arguments.get("show", lambda states: None),
            launch=self.launch,
            now=lambda: self.time,
            sleep=self.sleep,
        )
        return {directory.name: state for directory, state in states.items()}


class Process:
    def __init__(self, machine, name):
        self.machine, self.name = machine, name
        self.ends, self.status = machine.time + machine.seconds, machine.statuses.get(name, 0)

    def poll(self):
        return self.status if self.machine.time >= self.ends else None

    def terminate(self):
        self.machine.log.append((self.machine.time, "stop", self.name))
        self.ends, self.status = self.machine.time + self.machine.saving, 143

    def kill(self):
        self.machine.log.append((self.machine.time, "kill", self.name))
        self.ends, self.status = self.machine.time, -signal.SIGKILL


def test_all_tasks_are_run_and_never_too_many_at_once():
    tasks = [make_task(str(number)) for number in range(7)]
    machine = Machine()
    assert set(machine.work(tasks, jobs=3).values()) == {DONE}
    assert [name for _, _, name in machine.log] == [str(number) for number in range(7)]
    assert machine.most == 3
    assert machine.time == pytest.approx(30, abs=3 * working.PAUSE)


def test_a_run_that_fails_leaves_the_others_and_what_needs_it_waits():
    machine = Machine(statuses={"a": 1})
    states = machine.work([A, make_task("needing", needs="a"), B, make_task("other", needs="b")])
    assert states == {"a": State.FAILED, "needing": WAITING, "b": DONE, "other": DONE}


def test_a_signal_stops_what_runs_and_starts_nothing_more():
    machine = Machine()
    states = machine.work([A, B, C], stop_at=4.0)
    assert states == {"a": State.STOPPED, "b": State.STOPPED, "c": WAITING}
    assert [entry[1:] for entry in machine.log[2:]] == [("stop", "a"), ("stop", "b")]


def test_all_is_over_before_the_time_limit():
    machine = Machine(seconds=1e6, saving=5.0)
    states = machine.work([A, B, C], limits=limits(0.0, 540))
    assert set(states.values()) == {State.STOPPED, WAITING}
    assert 500 < machine.time < 540


def test_what_does_not_save_in_time_is_killed_before_the_limit():
    machine = Machine(seconds=1e6, saving=1e6)
    states = machine.work([A, B, C], limits=limits(0.0, 540))
    assert set(states.values()) == {State.STOPPED, WAITING}
    assert 530 < machine.time < 540
    ended = [entry[1:] for entry in machine.log if entry[1] != "start"]
    assert ended == [("stop", "a"), ("stop", "b"), ("kill", "a"), ("kill", "b")]


def test_a_run_that_somebody_else_kills_has_failed():
    machine = Machine(statuses={"a": -signal.SIGKILL})
    assert machine.work([A]) == {"a": State.FAILED}


def test_where_nobody_is_told_nothing_goes_on():
    machine = Machine()

    def gone(states):
        if machine.time > 3:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        machine.work([A, B, C], show=gone)
    assert [entry[1:] for entry in machine.log[2:]] == [("stop", "a"), ("stop", "b")]


@pytest.mark.parametrize("seconds", [1.0, 20.0, 540.0, 1e6])
def test_a_limit_leaves_time_to_train_to_save_and_to_end(seconds):
    stop, end = limits(100.0, seconds)
    assert 100 + seconds / 2 < stop < end < 100 + seconds
    assert limits(100.0, None) == (float("inf"), float("inf"))


def test_a_run_that_was_refused_is_elsewhere_where_another_process_holds_it(monkeypatch):
    monkeypatch.setattr(working, "is_held", lambda directory: directory == A.directory)
    machine = Machine(seconds=1.0, statuses={"a": 2, "b": 2})
    assert machine.work([A, B]) == {"a": State.ELSEWHERE, "b": State.FAILED}
