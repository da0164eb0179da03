"""Real training processes that are killed, one in each phase; `make faults` kills many more."""

import signal

import pytest

from experiments import run
from tests.faults.processes import RUN, SCHEDULE, differing, ended, start

SMALL = ["--hidden_sizes=8", "--lambda1=1", "--lambda2=2", "--adaptation_period=10"]
COMMAND = [*SCHEDULE, "--algo=ds_td3", *SMALL]

# In this order in one run directory; each run gets further. The first one is killed before there
# is a checkpoint.
KILLS = ("evaluating:2:0", "stepping:4:1", "saving:1:5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The place of a run of the same command that was not killed."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run.main([*COMMAND, f"--run_dir={RUN}"]) == 0
    return place


def test_a_run_that_is_killed_in_each_phase_ends_as_one_that_is_not(whole, tmp_path, monkeypatch):
    for kill in KILLS:
        end = ended(start(tmp_path, COMMAND, kill), tmp_path)
        assert (end.status, end.phase) == (-signal.SIGKILL, kill.split(":")[0]), end.errors
    monkeypatch.chdir(tmp_path)
    assert run.main([*COMMAND, f"--run_dir={RUN}"]) == 0
    assert differing(tmp_path, whole) == []
