"""The files of a run directory: what a start keeps of an earlier one, and what is refused."""

import os

import pytest

from experiments.machine import PLATFORMS, choose_device
from experiments.run_directory import RunDirectory, cut_rows

ROWS = "env_step,return_mean\n0,1.0\n5,2.0\n10,3.0\n"


@pytest.mark.parametrize(
    ("text", "env_step", "kept"),
    [
        (ROWS, 10, ROWS),
        (ROWS, 5, "env_step,return_mean\n0,1.0\n5,2.0\n"),
        (ROWS + "15,4", 15, ROWS),  # a last line that was cut short
        (ROWS, 0, None),  # a run from step 0 on tells that step again
        ("env_step,ret", 5, None),
        ("", 5, None),
    ],
)
def test_a_continued_run_keeps_the_whole_rows_up_to_its_start(tmp_path, text, env_step, kept):
    path = tmp_path / "evaluations.csv"
    path.write_text(text)
    cut_rows(path, env_step)
    assert (path.read_text() if path.exists() else None) == kept


def test_a_run_that_starts_twice_tells_its_first_evaluation_once(tmp_path):
    row = {"kind": "evaluation", "seed": 0, "env_step": 0, "return_mean": 1.5}
    for _ in range(2):
        files = RunDirectory(tmp_path, {})
        files.write({"kind": "start", "env_step": 0})
        files.write(row)
        files.close()
    assert (tmp_path / "evaluations.csv").read_text() == "seed,env_step,return_mean\n0,0,1.5\n"


@pytest.mark.parametrize(("device", "first"), [("cpu", "cpu"), ("gpu", "cuda"), ("tpu", "tpu")])
def test_a_device_is_a_platform_that_jax_can_start_alone(monkeypatch, device, first):
    """JAX's own "gpu" asks for the platforms of all makers and fails where one is missing."""
    monkeypatch.setenv("JAX_PLATFORMS", "")
    choose_device(device, None)
    assert os.environ["JAX_PLATFORMS"].split(",")[0] == first
    assert set(PLATFORMS) == {"cpu", "gpu", "tpu"}
