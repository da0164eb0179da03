"""Writing a run directory: what a start keeps of an earlier one."""

import json

import pytest

from dsrl_jax.config.loop import FORMAT
from experiments.run_dir.state import read_starts
from experiments.run_dir.writer import RunDirectory, cut_rows, to_events

ROWS = "env_step,return_mean\n0,1.0\n5,2.0\n10,3.0\n"
CONFIG = {"format": FORMAT, "steps": 5, "checkpoint_period": 3, "commit": "a"}


@pytest.mark.parametrize(
    ("text", "env_step", "kept"),
    [
        (ROWS, 10, ROWS),
        (ROWS, 5, "env_step,return_mean\n0,1.0\n5,2.0\n"),
        (ROWS + "15,4", 15, ROWS),  # a last line that was cut short
        (ROWS, 0, None),  # a run from step 0 writes that step again
        ("env_step,ret", 5, None),
        ("", 5, None),
    ],
)
def test_a_continued_run_keeps_complete_rows_up_to_its_start(tmp_path, text, env_step, kept):
    path = tmp_path / "evaluations.csv"
    path.write_text(text)
    cut_rows(path, env_step)
    assert (path.read_text() if path.exists() else None) == kept


def read_config(directory):
    return json.loads((directory / "config.json").read_text())


def test_the_first_config_stays_and_each_start_is_recorded(tmp_path):
    for commit in ("a", "b"):
        files = RunDirectory(tmp_path, CONFIG | {"commit": commit}, {"commit": commit})
        files.write({"kind": "start", "env_step": 0})
        files.close()
        assert read_config(tmp_path) == CONFIG
    assert read_starts(tmp_path) == [{"env_step": 0, "commit": commit} for commit in ("a", "b")]


def test_more_steps_change_nothing_else_in_the_config(tmp_path):
    RunDirectory(tmp_path, CONFIG, {})
    RunDirectory(tmp_path, {**CONFIG, "steps": 9, "commit": "b"}, {})
    assert read_config(tmp_path) == CONFIG | {"steps": 9}


def test_a_start_after_a_line_that_was_cut_short_begins_a_new_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "starts.jsonl").write_text('{"env_step": 0}\n{"env_st')
    files = RunDirectory(tmp_path, CONFIG, {})
    files.write({"kind": "start", "env_step": 7})
    files.close()
    assert read_starts(tmp_path) == [{"env_step": 0}, {"env_step": 7}]


def test_events_are_the_finite_numbers_of_a_row_named_after_their_layer():
    row = {
        "kind": "topology",
        "env_step": 5,
        "seed": 3,
        "network": "actor",
        "layer": "hidden_0",
        "overlap": 0.5,
        "churn": float("nan"),
        "dormant_units": None,
        "input_degrees": [1, 2],
    }
    (event,) = to_events(row)
    (value,) = event.summary.value
    assert (event.step, value.tag, value.simple_value) == (5, "seed_3/actor/hidden_0/overlap", 0.5)
    (event,) = to_events({"kind": "timing", "env_step": 5, "seconds": 2.0})
    assert event.summary.value[0].tag == "time/seconds"
