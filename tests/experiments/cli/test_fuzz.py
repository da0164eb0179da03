"""Command lines at random: what cannot be run is one line and status 2, and leaves no file."""

import io
import os
import shutil
from contextlib import chdir, redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings

from experiments import run
from tests.faults.commands import command_lines

# Of command lines; some of them turn out to be good ones.
TRIED, REFUSED = 700, 500


@pytest.fixture(scope="module")
def statuses(tmp_path_factory):
    """How often each status came; held to be enough in the end."""
    found = []
    yield found
    assert found.count(2) >= REFUSED, f"only {found.count(2)} of {len(found)} were refused"


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    """What is good is not trained; what is set for JAX is set back."""
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
def test_a_command_line_runs_or_is_refused_in_one_line(arguments, statuses, tmp_path):
    output, errors = io.StringIO(), io.StringIO()
    with chdir(tmp_path), redirect_stdout(output), redirect_stderr(errors):
        status = run.main(arguments)
    said = errors.getvalue()
    statuses.append(status)
    if status == 2:
        assert said.startswith("error: ") and said.count("\n") == 1, said
        assert not list(tmp_path.iterdir())
    else:
        assert (status, said) == (0, "")
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
