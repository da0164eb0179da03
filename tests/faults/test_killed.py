"""Real training processes that are killed, one in each phase; `make faults` kills many more."""

import signal

import pytest

from experiments import run
from tests.faults.processes import RUN, differing, ended, start

COMMAND = [
    "--env=tests.toy_environments:PointMass-v0",
    "--algo=ds_td3",
    "--seeds=0:2",
    "--hidden_sizes=8",
    "--batch_size=8",
    "--lambda1=1",
    "--lambda2=2",
    "--adaptation_period=10",
    "--start_steps=20",
    "--steps=100",
    "--eval_period=25",
    "--eval_episodes=2",
    "--log_period=10",
    "--checkpoint_period=20",
]

# In this order in one run directory: each time the run has come further. Where the first process is
# killed there is no checkpoint yet.
KILLS = ("evaluating:2:0", "stepping:4:1", "saving:1:5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where a run of the same command was that nothing stopped."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run.main([*COMMAND, f"--run_dir={RUN}"]) == 0
    return place


def test_a_run_that_was_killed_in_each_phase_ends_as_one_that_was_not(whole, tmp_path, monkeypatch):
    for kill in KILLS:
        end = ended(start(tmp_path, COMMAND, kill), tmp_path)
        assert (end.status, end.phase) == (-signal.SIGKILL, kill.split(":")[0]), end.errors
    monkeypatch.chdir(tmp_path)
    assert run.main([*COMMAND, f"--run_dir={RUN}"]) == 0
    assert differing(tmp_path, whole) == []
