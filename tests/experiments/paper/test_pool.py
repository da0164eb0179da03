"""Which runs start and stop and when, with processes that only a clock moves."""

import signal
from pathlib import Path

import pytest

from experiments.paper import pool
from experiments.paper.pool import Limits, Outcome, make_limits, outcome_of, run_tasks
from experiments.paper.tasks import Task
from tests.experiments.paper.paper_runs import make_experiment

DONE, STOPPED, FAILED, ELSEWHERE = Outcome
EXPERIMENT = make_experiment()


def make_task(name, *, reached=0, needs=None):
    directory = Path("runs") / name
    return Task(directory, (), EXPERIMENT, 100, reached, needs and Path("runs") / needs)


A, B, C = make_task("a"), make_task("b"), make_task("c")


class Machine:
    """Runs tasks by its own clock; `seconds`, `saving` and `statuses` may differ by name."""

    def __init__(self, *, seconds=10.0, saving=2.0, statuses=None):
        self.time, self.seconds, self.saving = 0.0, seconds, saving
        self.statuses = statuses or {}  # where it is not 0
        self.log, self.most, self.processes = [], 0, []

    def launch(self, task):
        name = task.directory.name
        self.log.append((self.time, "start", name))
        self.processes.append(Process(self, name))
        self.most = max(self.most, sum(each.poll() is None for each in self.processes))
        return self.processes[-1]

    def sleep(self, seconds):
        self.time += seconds

    def run(self, tasks, jobs=2, *, stop_at=float("inf"), limits=Limits(), show=None):  # noqa: B008
        outcomes = run_tasks(
            tasks,
            jobs,
            limits=limits,
            is_stop_requested=lambda: self.time >= stop_at,
            show=show or (lambda running, outcomes: None),
            launch=self.launch,
            now=lambda: self.time,
            sleep=self.sleep,
        )
        return {directory.name: outcome for directory, outcome in outcomes.items()}

    def named(self, *kinds):
        return [(kind, name) for _, kind, name in self.log if kind in kinds]


class Process:
    def __init__(self, machine, name):
        self.machine, self.name = machine, name
        self.ends, self.status = machine.time + machine.seconds, machine.statuses.get(name, 0)

    def poll(self):
        return self.status if self.machine.time >= self.ends else None

    def send_signal(self, number):
        self.machine.log.append((self.machine.time, number.name, self.name))
        is_kill = number == signal.SIGKILL
        self.ends = self.machine.time + (0 if is_kill else self.machine.saving)
        self.status = -signal.SIGKILL if is_kill else 143


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_all_tasks_run_in_order_and_never_too_many_at_once(jobs):
    tasks = [make_task(str(number)) for number in range(7)]
    machine = Machine()
    assert machine.run(tasks, jobs) == {str(number): DONE for number in range(7)}
    assert machine.named("start") == [("start", str(number)) for number in range(7)]
    rounds = -(-7 // jobs)
    assert machine.most == min(jobs, 7)
    assert machine.time == pytest.approx(10 * rounds, abs=rounds * pool.PAUSE)


def test_nothing_to_run_ends_at_once():
    machine = Machine()
    assert machine.run([]) == {} and machine.time == 0


def test_begun_tasks_start_first():
    machine = Machine()
    machine.run([A, B, make_task("begun", reached=7)])
    assert [name for _, name in machine.named("start")] == ["begun", "a", "b"]


def test_a_run_waits_for_its_policy_and_for_nothing_else():
    machine = Machine()
    tasks = [A, make_task("needing", needs="a"), B, C]
    assert set(machine.run(tasks).values()) == {DONE}
    assert [name for _, name in machine.named("start")] == ["a", "b", "needing", "c"]
    # A policy that exists is no task.
    assert Machine().run([make_task("needing", needs="a")]) == {"needing": DONE}


@pytest.mark.parametrize(("status", "end"), [(1, FAILED), (143, STOPPED), (2, ELSEWHERE)])
def test_without_its_policy_a_run_does_not_start_and_others_do(monkeypatch, status, end):
    monkeypatch.setattr(pool, "is_held", lambda directory: True)
    machine = Machine(statuses={"a": status})
    tasks = [A, make_task("needing", needs="a"), B, make_task("other", needs="b")]
    assert machine.run(tasks) == {"a": end, "b": DONE, "other": DONE}


@pytest.mark.parametrize(
    ("status", "is_held", "was_killed", "outcome"),
    [
        (0, False, False, DONE),
        (1, False, False, FAILED),
        (2, False, False, FAILED),
        (2, True, False, ELSEWHERE),
        (1, True, False, FAILED),
        (143, False, False, STOPPED),
        (130, False, False, STOPPED),
        (-15, False, False, STOPPED),  # before the process could handle it
        (-9, False, False, FAILED),  # the system lacks memory
        (-9, False, True, STOPPED),
    ],
)
def test_outcome_by_exit_status(monkeypatch, status, is_held, was_killed, outcome):
    monkeypatch.setattr(pool, "is_held", lambda directory: is_held)
    assert outcome_of(status, A.directory, was_killed) is outcome


def test_a_run_in_use_by_another_process_is_left_to_it(monkeypatch):
    monkeypatch.setattr(pool, "is_held", lambda directory: directory == A.directory)
    machine = Machine(seconds=1.0, statuses={"a": 2, "b": 2})
    assert machine.run([A, B]) == {"a": ELSEWHERE, "b": FAILED}


def test_a_signal_stops_each_run_once_and_starts_no_other():
    machine = Machine(saving=20.0)
    assert machine.run([A, B, C], stop_at=4.0) == {"a": STOPPED, "b": STOPPED}
    assert machine.named("SIGTERM", "SIGKILL") == [("SIGTERM", "a"), ("SIGTERM", "b")]


@pytest.mark.parametrize(
    ("saving", "earliest", "signals"),
    [(5.0, 500, ("SIGTERM",)), (1e6, 530, ("SIGTERM", "SIGKILL"))],
)
def test_all_is_over_before_the_time_limit(saving, earliest, signals):
    machine = Machine(seconds=1e6, saving=saving)
    assert machine.run([A, B, C], limits=make_limits(0.0, 540)) == {"a": STOPPED, "b": STOPPED}
    assert earliest < machine.time < 540
    expected = [(number, name) for number in signals for name in "ab"]
    assert machine.named("SIGTERM", "SIGKILL") == expected


@pytest.mark.parametrize("seconds", [1.0, 20.0, 540.0, 1e6])
def test_a_limit_leaves_time_to_train_to_save_and_to_end(seconds):
    stop, kill = make_limits(100.0, seconds)
    assert 100 + seconds / 2 < stop < kill < 100 + seconds
    assert make_limits(100.0, None) == (float("inf"), float("inf"))


@pytest.mark.parametrize("stop_at", [float("inf"), 2.0])
def test_if_the_status_cannot_be_shown_all_runs_save_and_end(stop_at):
    machine = Machine()

    def show(running, outcomes):
        if machine.time > 3:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        machine.run([A, B, C], show=show, stop_at=stop_at)
    assert machine.named("SIGTERM") == [("SIGTERM", "a"), ("SIGTERM", "b")]
