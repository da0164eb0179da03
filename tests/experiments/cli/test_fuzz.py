"""Random command lines: one that cannot run is one line and status 2, and leaves no file."""

import io
import os
import shutil
from contextlib import chdir, redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings

from experiments import run
from tests.faults.commands import command_lines

# Numbers of command lines; some of them are valid.
TRIED, REFUSED = 700, 500


@pytest.fixture(scope="module")
def statuses(tmp_path_factory):
    """Collects the statuses; checks in the end that enough command lines were invalid."""
    found = []
    yield found
    assert found.count(2) >= REFUSED, f"only {found.count(2)} of {len(found)} were invalid"


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    """Valid command lines are not trained; the environment variables for JAX are reset."""
    monkeypatch.setattr(run, "carry_out", lambda plan, values, arguments: 0)
    for name in ("JAX_PLATFORMS", "PJRT_NPROC", "XLA_FLAGS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@settings(
    max_examples=TRIED,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(arguments=command_lines)
def test_a_command_line_runs_or_is_one_line_of_error(arguments, statuses, tmp_path):
    output, errors = io.StringIO(), io.StringIO()
    with chdir(tmp_path), redirect_stdout(output), redirect_stderr(errors):
        status = run.main(arguments)
    error = errors.getvalue()
    statuses.append(status)
    if status == 2:
        assert error.startswith("error: ") and error.count("\n") == 1, error
        assert not list(tmp_path.iterdir())
    else:
        assert (status, error) == (0, "")
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
