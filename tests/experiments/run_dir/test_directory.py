"""The files of a run directory: what a start keeps of an earlier one, and what is refused."""

import json
import os
import shutil

import pytest

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe
from experiments.cli.machine import PLATFORMS, changed_conditions, choose_device
from experiments.run_dir.directory import DirectoryError, RunDirectory, check_directory, cut_rows
from experiments.run_dir.state import read_starts
from tests.experiments.paper.paper_runs import make_experiment, make_run

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


CONFIG = {"format": FORMAT, "steps": 5, "checkpoint_period": 3, "commit": "a"}


def held(directory):
    return (directory / "config.json").read_bytes()


def test_the_first_config_stays_and_each_start_is_told(tmp_path):
    for commit in ("a", "b"):
        files = RunDirectory(tmp_path, CONFIG | {"commit": commit}, {"commit": commit})
        files.write({"kind": "start", "env_step": 0})
        files.close()
        assert json.loads(held(tmp_path)) == CONFIG
    assert read_starts(tmp_path) == [{"env_step": 0, "commit": commit} for commit in ("a", "b")]


def test_more_steps_change_nothing_else_in_the_config(tmp_path):
    RunDirectory(tmp_path, CONFIG, {})
    RunDirectory(tmp_path, {**CONFIG, "steps": 9, "commit": "b"}, {})
    assert json.loads(held(tmp_path)) == CONFIG | {"steps": 9}


def test_a_finished_run_whose_checkpoints_are_gone_is_kept(tmp_path):
    """It would begin anew, over its tables."""
    run = make_run(tmp_path / "run", make_experiment(steps=20_000))
    longer = make_experiment(steps=40_000)
    assert check_directory(run, longer) is not None
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(DirectoryError, match="its checkpoints are gone"):
        check_directory(run, longer)
    unfinished = make_run(tmp_path / "other", longer, reached=20_000, saved=False)
    assert check_directory(unfinished, longer) is not None


def test_a_run_of_before_a_setting_existed_has_its_default(tmp_path):
    plain = resolve("HalfCheetah-v5", "ds_td3")
    old = {"format": FORMAT, **describe(plain)}
    del old["critic_topology"], old["actor_topology"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert check_directory(tmp_path, plain) == old
    other = resolve("HalfCheetah-v5", "ds_td3", settings={"critic_topology": "rigl"})
    with pytest.raises(DirectoryError, match="another run: critic_topology is None there and 'rig"):
        check_directory(tmp_path, other)


def test_a_start_after_one_that_was_cut_short_has_a_line_of_its_own(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "starts.jsonl").write_text('{"env_step": 0}\n{"env_st')
    files = RunDirectory(tmp_path, CONFIG, {})
    files.write({"kind": "start", "env_step": 7})
    files.close()
    assert read_starts(tmp_path) == [{"env_step": 0}, {"env_step": 7}]


def test_conditions_that_changed_are_named():
    before = {"threads": 1, "versions": {"jax": "0.1", "numpy": "2"}}
    here = {"threads": 1, "versions": {"jax": "0.2", "numpy": "2"}}
    assert changed_conditions(here, [before, here]) == ["jax was 0.1 and is 0.2"]
    assert changed_conditions(here, [here, here]) == []
    assert changed_conditions(before | {"threads": 2}, [before]) == ["threads was 1 and is 2"]


@pytest.mark.parametrize(("device", "first"), [("cpu", "cpu"), ("gpu", "cuda"), ("tpu", "tpu")])
def test_a_device_is_a_platform_that_jax_can_start_alone(monkeypatch, device, first):
    """JAX's own "gpu" asks for the platforms of all makers and fails where one is missing."""
    monkeypatch.setenv("JAX_PLATFORMS", "")
    choose_device(device, None)
    assert os.environ["JAX_PLATFORMS"].split(",")[0] == first
    assert set(PLATFORMS) == {"cpu", "gpu", "tpu"}
