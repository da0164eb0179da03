"""The lock of a run directory ends with the process that took it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.run_dir.directory import DirectoryError
from experiments.run_dir.lock import locked

ROOT = Path(__file__).parents[3]

# Holds a directory, and forks a child; both then wait to be killed. The child tells its own number:
# it has begun, and let go, by then, while a parent can be killed before its child first runs.
HOLDER = """
import os, signal, sys
from pathlib import Path
from experiments.run_dir.lock import locked
with locked(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the directory, and its child, which may outlive it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    yield process
    process.kill()
    os.kill(child, signal.SIGKILL)
    process.communicate()  # The child has the pipe too: it would wait for it.


def test_a_child_does_not_hold_the_directory_of_a_process_that_was_killed(holder, tmp_path):
    with pytest.raises(DirectoryError, match=f"in use by process {holder.pid}"), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_is_free_after_the_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path), pytest.raises(DirectoryError, match="in use"), locked(tmp_path):
            pass
