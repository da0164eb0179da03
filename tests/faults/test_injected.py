"""Faults injected one by one: one line, an exit status, and files that are whole or untouched.

In one process, with the stand-in for the compiled program; `make faults` uses real processes.
"""

import contextlib
import re
import shutil
import signal
import time

import pytest

from dsrl_jax.training import loop
from dsrl_jax.training import train as training
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints
from experiments import plot, run
from tests.faults.injected import EQUAL, FAULTS, INTACT, contents, injected
from tests.faults.processes import PROMISED, ROOT, RUN, SCHEDULE, differing
from tests.training.numpy_program import numpy_program

COMMAND = [*SCHEDULE, "--algo=td3", f"--run_dir={RUN}"]


class Killed(BaseException):
    """Ends a run as a kill would, within this process."""


@pytest.fixture(scope="module", autouse=True)
def stand_in():
    def compile_program(agent, config, spaces, seeds, *, placement=None, freeze_nonfinite=False):
        del agent, config
        return numpy_program(spaces, seeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "compile_program", compile_program)
        patch.setattr(plot, "draw_run", lambda directory: None)
        yield


def run_in(place, *more):
    place.mkdir(exist_ok=True)
    with contextlib.chdir(place):
        return run.main([*COMMAND, *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    assert run_in(place) == 0
    return place


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The place of a run that ended at step 80, before it saved."""
    place = tmp_path_factory.mktemp("stopped")
    save = Checkpoints.save

    def save_or_end(checkpoints, step, saved):
        if step == 80:
            raise Killed
        save(checkpoints, step, saved)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_or_end)
        with pytest.raises(Killed):
            run_in(place)
    return place


@pytest.fixture
def copy(stopped, tmp_path):
    shutil.copytree(stopped / RUN, tmp_path / RUN)
    return tmp_path


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_and_nothing_is_lost(name, copy, whole, capfd):
    fault, directory = FAULTS[name], copy / RUN
    with injected(fault, directory):
        before = contents(directory)
        capfd.readouterr()
        assert run_in(copy) == fault.status
        errors = capfd.readouterr().err.splitlines()
        messages = [line for line in errors if not line.startswith("step ")]
        assert len(messages) == (1 if fault.says else 0), errors
        assert re.search(fault.says, "\n".join(messages))
        if fault.outcome == INTACT:
            assert contents(directory) == before
        if fault.outcome == EQUAL:
            assert differing(copy, whole) == []


def test_the_comparison_sees_a_difference_in_each_file(whole, tmp_path):
    """So that the tests above can fail."""
    for name in PROMISED:
        place = tmp_path / name.replace("/", "_")
        shutil.copytree(whole / RUN, place / RUN)
        path = place / RUN / name
        path.write_bytes(path.read_bytes() + b" ")
        assert differing(place, whole) == [name]


def test_the_docs_list_every_fault():
    table = (ROOT / "docs" / "faults.md").read_text()
    assert [name for name in FAULTS if f"| {name} |" not in table] == []
    assert "FAILED" not in table


# --- Signals, the clock, a finished run ----------------------------------------------------------


def signal_at(patch, number, at):
    """Sends this process a signal during a step of a run."""
    train = loop.train

    def train_with_signal(experiment, backend, stop):
        def advance(state, progress, env_step):
            if env_step == at:
                signal.raise_signal(number)
            return backend.advance(state, progress, env_step)

        return train(experiment, backend._replace(advance=advance), stop)

    patch.setattr(loop, "train", train_with_signal)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("at", [1, 60, 75])
def test_a_signal_ends_the_step_and_saves(number, status, at, tmp_path, whole, capfd, monkeypatch):
    before = signal.signal(number, signal.default_int_handler)  # whoever started the tests
    with monkeypatch.context() as patch:
        signal_at(patch, number, at)
        assert run_in(tmp_path) == status
    assert signal.signal(number, before) is signal.default_int_handler
    assert f"stopped at step {at} of 100 and saved" in capfd.readouterr().err
    assert (tmp_path / RUN / "checkpoints" / str(at)).is_dir()
    assert run_in(tmp_path) == 0
    assert differing(tmp_path, whole) == []


def test_a_signal_in_the_last_step_finishes_the_run(tmp_path, whole, monkeypatch):
    signal_at(monkeypatch, signal.SIGTERM, 100)
    assert run_in(tmp_path) == 0
    assert differing(tmp_path, whole) == []


def test_a_clock_that_jumps_changes_only_times(tmp_path, whole, monkeypatch):
    days = iter([0, 400, -4000, 30, -1] * 100_000)
    monkeypatch.setattr(time, "time", lambda: 1e9 + 86400 * next(days))
    with monkeypatch.context() as patch:
        signal_at(patch, signal.SIGTERM, 45)
        assert run_in(tmp_path) == 143
    assert run_in(tmp_path) == 0
    assert differing(tmp_path, whole) == []


def test_a_finished_run_says_so_and_does_nothing(whole, tmp_path, capfd):
    shutil.copytree(whole / RUN, tmp_path / RUN)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run_in(tmp_path) == 0
    assert "run is finished: all 100 steps are done" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_fewer_steps_are_an_error_and_other_checkpoint_periods_are_not(copy, whole, capfd):
    assert run_in(copy, "--steps=90") == 2
    assert "run of 100 steps, got steps 90" in capfd.readouterr().err
    assert run_in(copy, "--checkpoint_period=7") == 0
    assert differing(copy, whole) == ["config.json"]


def test_noresume_is_an_error_if_there_is_a_run(copy, capfd):
    before = contents(copy / RUN)
    assert run_in(copy, "--noresume") == 2
    assert "leave out --noresume" in capfd.readouterr().err
    assert contents(copy / RUN) == before


def test_an_environment_whose_worker_dies_is_one_line(tmp_path, capfd):
    assert run_in(tmp_path, "--env=tests.toy_environments:DyingWorker-v0") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: seed 0, training: the environment failed, BrokenPipeError")
    assert [path.name for path in (tmp_path / RUN / "checkpoints").iterdir()] == ["20"]
