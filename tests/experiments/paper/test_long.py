"""The paper's command end to end at a tiny scale: killed, stopped, continued (make test-long)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.run_dir.lock import is_held
from tests.faults.processes import differing_runs

ROOT = Path(__file__).parents[3]

# Two tasks and two seeds of Figure 1, and Figure 3's policy with the two runs that start from it.
COMMAND = [
    *("fig1", "fig3a", "--envs=halfcheetah,hopper", "--algos=ds_td3", "--seeds=0:2"),
    *("--steps=3000", "--start_steps=1000", "--eval_period=500", "--eval_episodes=2"),
    *("--checkpoint_period=500", "--jobs=2"),
]
RUNS = 4 + 1 + 2
LONGEST = 900  # seconds


def start(place, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "experiments.paper", *arguments]
    with (place / "said").open("w") as said:
        return subprocess.Popen(
            command, cwd=place, env=environment, stdout=said, stderr=subprocess.STDOUT
        )


def said(place):
    return (place / "said").read_text()


def finish(place, *arguments):
    assert start(place, *arguments).wait(LONGEST) == 0, said(place)
    return said(place)


def saved(place):
    """How many checkpoints there are, of all runs."""
    return len(list(place.glob("runs/*/checkpoints/*/record.json")))


def wait_for_checkpoints(process, place, count):
    end = time.monotonic() + LONGEST
    while saved(place) < count:
        assert process.poll() is None and time.monotonic() < end, said(place)
        time.sleep(0.1)


def running(place):
    """The processes of runs, by their locks."""
    return [
        int((directory / "lock").read_text())
        for directory in place.glob("runs/*")
        if is_held(directory)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where the command ran from its start to its end."""
    place = tmp_path_factory.mktemp("whole")
    assert f"{RUNS} of {RUNS} done, 0 running" in finish(place, *COMMAND)
    return place


@pytest.mark.long
def test_a_killed_and_stopped_command_ends_as_an_uninterrupted_one(whole, tmp_path):
    process = start(tmp_path, *COMMAND)
    wait_for_checkpoints(process, tmp_path, 3)
    process.kill()
    process.wait()
    orphans = running(tmp_path)
    for number in orphans:
        os.kill(number, signal.SIGKILL)
    assert orphans  # the runs outlive the command; here all is killed
    process = start(tmp_path, *COMMAND)
    wait_for_checkpoints(process, tmp_path, saved(tmp_path) + 2)
    process.terminate()
    assert process.wait(LONGEST) == 143, said(tmp_path)
    assert not running(tmp_path) and "the same command continues" in said(tmp_path)
    # As a batch system's jobs would, one after another.
    statuses = [start(tmp_path, *COMMAND, "--time_limit=40").wait(LONGEST)]
    while statuses[-1] == 143 and len(statuses) < 20:
        statuses.append(start(tmp_path, *COMMAND, "--time_limit=40").wait(LONGEST))
    assert statuses[-1] == 0, said(tmp_path)
    names = sorted(path.name for path in (whole / "runs").iterdir())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == names
    assert len(names) == RUNS
    for name in names:
        assert differing_runs(tmp_path / "runs" / name, whole / "runs" / name) == [], name


@pytest.mark.long
def test_finished_and_collected_runs_are_skipped(whole):
    assert "6 of 6 runs are done; to compute: 0" in finish(whole, *COMMAND)
    listed = finish(whole, *COMMAND, "--list")
    assert listed.count("time for the rest      none") == 2
    directories = sorted(map(str, (whole / "runs").iterdir()))
    collected = finish(whole, "collect", *directories)
    assert collected.count(" bytes") == RUNS
    # On another machine, which only has the results.
    elsewhere = ["--runs=nowhere"]
    assert "6 of 6 runs are done; to compute: 0" in finish(whole, *COMMAND, *elsewhere)
