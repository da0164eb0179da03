"""The lock of a run directory ends with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.run_dir.directory import DirectoryError
from experiments.run_dir.lock import locked

ROOT = Path(__file__).parents[3]

# Locks a directory and forks a child; both then wait to be killed. The child prints its number:
# by then it runs and has closed its copy, while a parent may be killed before its child runs.
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
    """A process that has locked the directory, and its child, which may outlive it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    yield process
    process.kill()
    os.kill(child, signal.SIGKILL)
    process.communicate()  # The child has the pipe too: it would wait for it.


def test_a_child_does_not_keep_the_lock_of_a_killed_process(holder, tmp_path):
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
