"""The status line, the list, and the time left."""

import io

import pytest

from experiments.paper.existing_runs import existing_runs
from experiments.paper.pool import Outcome
from experiments.paper.rates import format_time, measure_rates, read_progress, time_left
from experiments.paper.required_runs import Selection, required_runs
from experiments.paper.status import StatusLine, format_end, list_figures
from experiments.paper.tasks import Machine, Task, match_runs, missing_tasks
from tests.experiments.paper.paper_runs import make_experiment, make_run, write_timings

SELECTION = Selection(("halfcheetah",), ("ds_td3", "td3"), (0, 1), settings={"steps": 300_000})


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def tasks(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    experiment = make_experiment("td3", steps=100, start_steps=10, env="Ant-v5")
    return [Task(tmp_path / name, (), experiment, 100, 0) for name in ("a", "b")]


def test_a_log_has_each_status_once_and_the_end_of_each_run(tasks):
    output = io.StringIO()
    a, b = (task.directory for task in tasks)
    status = StatusLine(tasks, 1, {}, output)
    for _ in range(2):
        status.show({a}, {})
    write_timings(a, [(20, 1.0), (40, 2.0)])
    for _ in range(2):
        status.show({a}, {})
    status.show({b}, {a: Outcome.DONE})
    write_timings(b, [(2, 1.0), (10, 2.0)])  # no rate before updates
    status.show({b}, {a: Outcome.DONE})
    assert output.getvalue().splitlines() == [
        "0 of 2 done, 1 running, step 0 of 200, time left: no rate yet for 2 runs",
        "0 of 2 done, 1 running, step 40 of 200, time left: 1 min",
        "a: done",
        "1 of 2 done, 1 running, step 100 of 200, time left: 1 min",
        "1 of 2 done, 1 running, step 110 of 200, time left: 1 min",
    ]


def test_a_terminal_has_one_line_of_status_that_fits(tasks, monkeypatch):
    output = Terminal()
    a, b = (task.directory for task in tasks)
    status = StatusLine(tasks, 2, {("Ant-v5", "td3"): 4.0}, output)
    status.show({a, b}, {})
    status.show({b}, {a: Outcome.DONE})
    first, second = output.getvalue().split("\x1b[F\x1b[J")
    assert first == "0 of 2 done, 2 running, step 0 of 200, time left: 1 min\n"
    assert second.splitlines()[0] == "a: done"  # stays above the status
    status.show({b}, {a: Outcome.DONE})
    assert output.getvalue() == first + "\x1b[F\x1b[J" + second
    monkeypatch.setenv("COLUMNS", "20")
    status.show({}, {a: Outcome.DONE, b: Outcome.STOPPED})
    assert output.getvalue().splitlines()[-1] == "1 of 2 done, 0 runn"


def test_the_end_of_a_run_names_its_error_its_warnings_and_its_log(tasks):
    (task, silent), log = tasks, tasks[0].directory / "output.log"
    log.write_text("warning: no exact resume\nerror: no room\n")
    assert format_end(task, Outcome.FAILED) == f"a: failed: error: no room, with 1 warning ({log})"
    assert format_end(task, Outcome.DONE) == f"a: done, with 1 warning ({log})"
    assert format_end(silent, Outcome.FAILED).startswith("b: failed: no output (")
    labelled = format_end(silent._replace(label="TD3"), Outcome.ELSEWHERE)
    assert labelled == "b (TD3): in use by another process"


def test_a_rate_is_measured_with_updates_and_within_a_process(tmp_path):
    directory = make_run(tmp_path / "runs" / "a", make_experiment(), reached=50_000)
    other = make_run(tmp_path / "runs" / "b", make_experiment(seeds=(1,)), reached=50_000)
    # Before updates, at 50 and 25 steps a second; another process continues from 40,000 and
    # compiles at first.
    rows = [(20_000, 2.0), (25_000, 3.0), (30_000, 103.0), (35_000, 303.0), (40_000, 403.0)]
    kind = ("HalfCheetah-v5", "ds_td3")
    for end, expected in ((1, {}), (2, {}), (3, {kind: 50}), (4, {kind: 25}), (5, {kind: 50})):
        write_timings(directory, rows[:end])
        assert measure_rates(existing_runs(tmp_path / "runs", tmp_path)) == expected
    write_timings(other, rows[:4])
    assert measure_rates(existing_runs(tmp_path / "runs", tmp_path)) == {kind: 37.5}
    write_timings(directory, [*rows, (45_000, 50.0)], starts=(0, 40_000))
    assert read_progress(directory, 25_000) == (45_000, None)
    write_timings(directory, [*rows, (45_000, 500.0)], starts=(0, 40_000))
    assert read_progress(directory, 25_000) == (45_000, None)


@pytest.mark.parametrize("settings", [{"hidden_sizes": (16, 16)}, {"batch_size": 16}])
def test_runs_of_other_sizes_measure_no_rate(tmp_path, settings):
    directory = make_run(tmp_path / "runs" / "a", make_experiment(**settings), reached=50_000)
    write_timings(directory, [(25_000, 3.0), (30_000, 103.0)])
    assert measure_rates(existing_runs(tmp_path / "runs", tmp_path)) == {}


def test_the_time_left_counts_runs_with_a_rate_and_names_the_others(tmp_path):
    matches = match_runs(required_runs(["fig1"], SELECTION), [])
    tasks = missing_tasks(matches, [], Machine(tmp_path))
    reached = {task.directory: 0 for task in tasks}
    assert time_left(tasks, reached, {}, 2) == "no rate yet for 4 runs"
    rates = {("HalfCheetah-v5", "td3"): 100.0}
    # Two runs of 300,000 steps take 3,000 s each, two at once.
    assert time_left(tasks, reached, rates, 2) == "50 min for 2 runs, no rate yet for 2 runs"
    rates["HalfCheetah-v5", "ds_td3"] = 50.0
    reached[tasks[1].directory] = 100_000
    assert tasks[1].kind == ("HalfCheetah-v5", "ds_td3")
    assert time_left(tasks, reached, rates, 1) == format_time(6_000 + 4_000 + 6_000) == "4.4 h"
    # More cores than runs do not help the longest run.
    assert time_left(tasks, reached, rates, 16) == format_time(6_000)
    done = {task.directory: task.steps for task in tasks}
    assert time_left(tasks, done, rates, 2) == "none"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 min"), (119, "2 min"), (7_199, "120 min"), (7_200, "2.0 h"), (200_000, "2.3 days")],
)
def test_times_have_a_fitting_unit(seconds, text):
    assert format_time(seconds) == text


def test_the_list_names_runs_done_begun_and_the_time(tmp_path):
    make_run(tmp_path / "runs" / "a", make_experiment(seeds=(0,)))
    begun = make_run(tmp_path / "runs" / "b", make_experiment(seeds=(1,)), reached=60_000)
    write_timings(begun, [(25_000, 0.0), (30_000, 100.0)])
    existing = existing_runs(tmp_path / "runs", tmp_path / "results")
    matches = match_runs(required_runs(["fig1"], SELECTION), existing)
    arguments = (matches, existing, Machine(tmp_path / "runs"), measure_rates(existing), 2)
    text = list_figures(["fig1", "costs"], *arguments)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "DS-TD3 2 1 1 (60,000 of 300,000 steps) halfcheetah; seeds 0,1" in lines
    assert "TD3 2 0 - halfcheetah; seeds 0,1" in lines
    assert "all 4 1 1 (60,000 of 300,000 steps)" in lines
    # 240,000 steps at 50 a second: one run cannot be shared.
    expected = "time for the rest 80 min for 1 run, no rate yet for 2 runs; 3 to compute, 2 at once"
    assert expected in lines
    assert any("runs nothing" in line for line in lines)


def test_the_list_counts_policies_that_are_trained_first(tmp_path):
    matches = match_runs(required_runs(["fig3a"], SELECTION), [])
    text = list_figures(["fig3a"], matches, [], Machine(tmp_path), {}, 2)
    assert "6 to compute, 2 at once, 2 of them trained policies to start from" in text
