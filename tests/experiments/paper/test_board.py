"""What a terminal shows of several runs."""

import io
import re

import pytest

from experiments.paper.board import Board
from experiments.paper.queue import State
from experiments.paper.tasks import Task
from tests.experiments.paper.paper_runs import write_timings

RUNNING, WAITING, DONE = State.RUNNING, State.WAITING, State.DONE


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def tasks(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return [Task(tmp_path / name, (), "Ant-v5", "td3", 100, 0, 10) for name in ("a", "b")]


def show(board, tasks, *states):
    board.show({task.directory: state for task, state in zip(tasks, states, strict=True)})


def test_plain_lines_tell_each_piece_of_news_once(tasks):
    output = io.StringIO()
    board = Board(tasks, 1, {}, output)
    show(board, tasks, WAITING, WAITING)
    assert not output.getvalue()
    for _ in range(2):
        show(board, tasks, RUNNING, WAITING)
    write_timings(tasks[0].directory, [(20, 1.0), (40, 2.0)])
    for _ in range(2):
        show(board, tasks, RUNNING, WAITING)
    show(board, tasks, DONE, RUNNING)
    assert output.getvalue().splitlines() == [
        "a: step 0 of 100; 0 of 2 done, time left: no rate yet for 2 runs",
        "a: step 40 of 100, 20 steps/s; 0 of 2 done, time left: 1 min",
        "a: step 100 of 100, done; 1 of 2 done, time left: 1 min",
        "b: step 0 of 100; 1 of 2 done, time left: 1 min",
    ]


def test_a_failure_is_told_with_its_reason_and_warnings_with_their_place(tasks):
    output = io.StringIO()
    for task in tasks:
        (task.directory / "output.log").write_text("warning: no exact resume\nerror: no room\n")
    show(Board(tasks, 2, {}, output), tasks, State.FAILED, DONE)
    failed, done = output.getvalue().splitlines()
    assert f"a: step 0 of 100, failed: error: no room ({tasks[0].directory}/output.log)" in failed
    assert f"done, with 1 warning ({tasks[1].directory}/output.log)" in done


def test_a_terminal_has_one_block_that_is_drawn_anew(tasks):
    output = Terminal()
    board = Board(tasks, 2, {("Ant-v5", "td3"): 4.0}, output)
    show(board, tasks, RUNNING, RUNNING)
    show(board, tasks, DONE, RUNNING)
    shown = output.getvalue()
    first, second = shown.split("\x1b[3F\x1b[J")
    whole = "0 of 2 done, time left: 1 min"
    assert first.splitlines() == ["a: step 0 of 100", "b: step 0 of 100", whole]
    assert second.splitlines()[0] == "a: step 100 of 100, done"  # stays above the block
    assert second.splitlines()[1:] == ["b: step 0 of 100", whole.replace("0 of", "1 of", 1)]
    show(board, tasks, DONE, RUNNING)
    assert output.getvalue() == shown  # nothing is new
    show(board, tasks, DONE, State.STOPPING)
    again = output.getvalue()[len(shown) :]
    assert again.startswith("\x1b[2F\x1b[J") and len(re.findall("\n", again)) == 2
