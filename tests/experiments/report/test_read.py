"""What a report reads from run directories, in any state."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.cli.values import UsageError
from experiments.report.groups import group
from experiments.report.read import read_runs, read_table
from experiments.report.run_files import read_duration, read_topology
from tests.experiments.report.report_runs import write_rows, write_run, write_tables


def read(*places):
    runs, notes = read_runs(places)
    return group(runs), notes


def change(directory, **settings):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_runs_are_found_at_any_depth_by_their_config(tmp_path):
    write_run(tmp_path / "a" / "whatever", [[1.0, 2]], seeds=(3,))
    write_run(tmp_path / "td3-s0", [[5.0, 6]], seeds=(1,))
    write_run(tmp_path / "b" / "c" / "x", [[1.0, 4]], algo="td3")
    groups, notes = read(tmp_path)
    assert not notes
    assert [(each.method.algo, [run.seed for run in each.runs]) for each in groups] == [
        ("td3", [0]),
        ("ds_td3", [1, 3]),
    ]
    assert groups[1].values("final").tolist() == [6, 2]


def test_members_of_one_directory_are_seeds(tmp_path):
    (only,), _ = read(write_run(tmp_path / "run", [[0.0, 1], [0.0, 3]], seeds=(0, 4)))
    assert [run.seed for run in only.runs] == [0, 4]
    assert only.sample("final") == (2, pytest.approx(math.sqrt(2)), 2)
    steps, returns = only.curves()
    assert steps.tolist() == [0, 5_000]
    assert returns.tolist() == [[0, 1], [0, 3]]


def test_methods_differ_by_settings_that_differ_from_their_preset(tmp_path):
    write_run(tmp_path / "plain", [[0.0, 1]])
    write_run(tmp_path / "often", [[0.0, 1]], adaptation_period=200)
    write_run(tmp_path / "official", [[0.0, 1]], preset="official")
    write_run(tmp_path / "long", [[0.0, 1]], steps=10_000, checkpoint_period=7)
    groups, _ = read(tmp_path)
    assert [(each.method.label, each.length) for each in groups] == [
        ("DS-TD3", 5_000),
        ("DS-TD3", 10_000),
        ("DS-TD3 (e = 200)", 5_000),
        ("DS-TD3 (official)", 5_000),
    ]


def test_a_run_that_starts_from_a_policy_is_another_method(tmp_path):
    policy = {"algo": "td3", "preset": "paper", "seed": 5, "env_step": 500_000, "sha256": "a"}
    for name in "ab":  # the same training, on two machines
        run = write_run(tmp_path / name, [[0.0, 1]], algo="td3", seeds=(ord(name),))
        change(run, initial_policy=policy | {"sha256": name})
    (only,), _ = read(tmp_path)
    assert only.method.label == "TD3 (from a policy of 500,000 steps)"
    assert len(only.runs) == 2


def write_sweep(directory, returns):
    """Writes three members with two seeds; two have the same drop fraction."""
    run = write_run(directory, [[0.0, 1]] * 3, seeds=(0, 1, 2))
    change(run, seeds=[0, 0, 1], varied={"drop_fraction": [0.05, 0.3, 0.05]})
    rows = [
        {"member": member, "seed": member // 2, "env_step": 5_000 * place, "return_mean": value}
        for place in range(2)
        for member, value in enumerate(each[place] for each in returns)
    ]
    write_rows(run / "evaluations.csv", rows)
    return run


def test_members_of_a_sweep_are_methods_by_their_settings(tmp_path):
    groups, notes = read(write_sweep(tmp_path / "run", [[0.0, 1], [0.0, 2], [0.0, 3]]))
    assert not notes
    assert [(each.method.label, each.values("final").tolist()) for each in groups] == [
        ("DS-TD3", [1, 3]),
        ("DS-TD3 (η = 0.3)", [2]),
    ]
    assert groups[1].runs[0].experiment.agent.sparse.drop_fraction == 0.3


def test_a_frozen_member_is_unfinished(tmp_path):
    groups, notes = read(write_sweep(tmp_path / "run", [[0.0, 1], [0.0, math.nan], [0.0, 3]]))
    assert [note.split(", ")[1][:8] for note in notes] == ["member 1"]
    assert groups[1].reached == 0
    assert not groups[1].is_whole


def test_an_older_config_has_the_defaults_of_newer_settings(tmp_path):
    run = write_run(tmp_path / "run", [[0.0, 1]])
    config = json.loads((run / "config.json").read_text())
    for name in ("env_preset", "backend", "format", "drop_rule"):
        del config[name]
    (run / "config.json").write_text(json.dumps(config))
    (only,), _ = read(run)
    assert (only.method.where, only.method.changes) == ("HalfCheetah-v5", ())


def test_figures_count_finished_runs(tmp_path):
    write_run(tmp_path / "a", [[0.0, 1, 2]])
    write_run(tmp_path / "b", [[0.0, 9]], seeds=(1,), steps=10_000)
    (only,), _ = read(tmp_path)
    assert only.is_whole
    assert only.values("final").tolist() == [2]
    assert len(only.runs) == 2  # the other run is kept, too


def test_figures_of_unfinished_runs_stop_where_all_have_evaluations(tmp_path):
    write_run(tmp_path / "a", [[0.0, 1, 2]], steps=20_000)
    write_run(tmp_path / "b", [[0.0, 9]], seeds=(1,), steps=20_000)
    (only,), _ = read(tmp_path)
    assert not only.is_whole
    assert only.reached == 5_000
    assert only.values("final").tolist() == [1, 9]


def test_a_copy_of_a_run_counts_once(tmp_path):
    run = write_run(tmp_path / "a", [[0.123456789, 1, 2]], steps=15_000)
    write_run(tmp_path / "b", [[0.1234568, 1, 2, 3]])
    groups, notes = read(run, tmp_path)
    assert not notes
    assert groups[0].values("final").tolist() == [3]


def test_a_different_run_of_the_same_seed_is_noted(tmp_path):
    write_run(tmp_path / "a", [[0.0, 1]])
    write_run(tmp_path / "b", [[0.0, 2]])
    groups, (note,) = read(tmp_path)
    assert groups[0].values("final").tolist() == [1]
    assert f"{tmp_path / 'b'} is not counted" in note


@pytest.mark.parametrize("damage", ["not json", '{"env": 3}', "[]", '{"algo": "td3"}'])
def test_a_damaged_run_hides_no_other(tmp_path, damage):
    write_run(tmp_path / "good", [[0.0, 1]])
    bad = write_run(tmp_path / "bad", [[0.0, 1]])
    (bad / "config.json").write_text(damage)
    groups, (note,) = read(tmp_path)
    assert len(groups) == 1
    assert str(bad) in note
    with pytest.raises(UsageError, match="bad is not counted"):
        read_runs([bad])


@pytest.mark.parametrize(
    "table, said",
    [
        ("seed,env_step,return_mean\n0,0\n", "row 2 does not match the header"),
        ("seed,env_step,return_mean\n0,0,1,2\n", "row 2 does not match the header"),
        ("env_step,return_mean\n0,1\n", "it has no column 'seed'"),
        ("seed,env_step,return_mean\n0,0,x\n", "row 2: could not convert string to float: 'x'"),
        ("seed,env_step,return_mean\n0,0,1\n0,10000,1\n", "no evaluation at step 5,000"),
        ("seed,env_step,return_mean\n0,5000,1\n", "seed 0 has no evaluation at step 0"),
        ("seed,env_step,return_mean\n0,0,1\n7,0,1\n", "has seed 7, config.json has not"),
        ("seed,env_step,return_mean\n0,0,1\n0,0,1\n", "the steps of seed 0 do not increase"),
    ],
)
def test_damaged_evaluations_hide_no_other(tmp_path, table, said):
    write_run(tmp_path / "good", [[0.0, 1]])
    bad = write_run(tmp_path / "bad", [[0.0, 1]])
    (bad / "evaluations.csv").write_text(table)
    groups, (note,) = read(tmp_path)
    assert [len(each.runs) for each in groups] == [1]
    assert re.search(f"{bad} is not counted: .*{said}", note)


def test_a_config_without_sizes_raises_an_error(tmp_path):
    run = write_run(tmp_path / "run", [[0.0, 1]])
    config = json.loads((run / "config.json").read_text())
    del config["observation_size"]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="its config.json has no observation_size"):
        read_runs([run])


def test_figures_leave_out_a_seed_that_broke_down(tmp_path):
    run = write_run(
        tmp_path / "run", [[0.0, 1, 2], [0.0, math.nan, math.nan]], seeds=(0, 1), steps=20_000
    )
    (only,), (note,) = read(run)
    assert "seed 1: its numbers were not finite" in note
    assert (only.reached, only.broken) == (10_000, 1)
    assert only.values("final").tolist() == [2]


def test_no_run_raises_an_error(tmp_path):
    with pytest.raises(UsageError, match="has no run"):
        read_runs([tmp_path])
    with pytest.raises(UsageError, match="is no directory"):
        read_runs([tmp_path / "nothing"])


def test_a_run_without_an_evaluation_is_named(tmp_path):
    (write_run(tmp_path / "run", [[0.0, 1]]) / "evaluations.csv").unlink()
    with pytest.raises(UsageError, match="run has no evaluation yet"):
        read_runs([tmp_path])


def test_a_half_written_row_is_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n3,4")
    assert read_table(path) == [{"x": "1", "y": "2"}]
    path.write_text("x")
    assert read_table(path) == read_table(tmp_path / "nothing") == []


def test_topology_by_layer(tmp_path):
    directory = write_run(tmp_path / "run", [[0.0, 1]])
    ((run,), _) = read_runs([directory])
    assert read_topology(run) == {}
    write_tables(directory)
    layers = read_topology(run)
    assert list(layers) == [(name, "hidden_0") for name in ("actor", "critic_1", "critic_2")]
    actor = layers["actor", "hidden_0"]
    assert actor.steps.tolist() == [0, 5_000]
    assert actor.churn.tolist() == [0, 0.1]
    assert [degrees.tolist() for degrees in actor.degrees] == [[5, 5, 0], [6, 4, 0]]
    assert np.array_equal(actor.dormant_units, [1, 1])


def test_of_copies_the_one_with_a_topology_counts(tmp_path):
    for name in ("a", "b", "c"):
        write_run(tmp_path / name, [[0.0, 1]])
    write_tables(tmp_path / "b")
    runs, notes = read_runs([tmp_path])
    assert [run.directory.name for run in runs] == ["b"] and not notes


def test_members_of_a_program_of_several_methods_keep_their_methods(tmp_path):
    settings = {"drop_fraction": [0.1, 0.0, 0.0], "lambda1": [7.0, 7.0, 1e9]}
    settings |= {"lambda2": [64.0, 64.0, 1e9]}
    batch = write_run(tmp_path / "batch_1", [[0.0, 1]] * 3, seeds=(0, 1, 2), adaptation_period=200)
    change(batch, varied=settings, algos=["ds_td3", "static_td3", "td3"])
    labels = [run.method.label for run in read_runs([batch])[0]]
    assert labels == ["TD3", "Static-TD3", "DS-TD3 (e = 200, η = 0.1)"]


def test_time_is_summed_over_processes(tmp_path):
    directory = write_run(tmp_path / "run", [[0.0, 1]])
    ((run,), _) = read_runs([directory])
    assert read_duration(run) is None
    write_tables(directory, steps=(0, 5_000, 10_000, 15_000))
    assert read_duration(run) == (15_000, 40, 1, 0.5)
    # A second process continued from step 5,000: 20 seconds of the first, 40 of the second.
    starts = [json.dumps({"env_step": step}) for step in (0, 5_000)]
    (directory / "starts.jsonl").write_text("\n".join(starts) + "\n")
    assert read_duration(run) == (15_000, 60, 2, 1)


def test_folders_of_a_run_contain_no_runs(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", [[0.0, 1]])
    write_run(run / "checkpoints" / "5000", [[0.0, 1]], seeds=(1,))
    assert [found.seed for found in read_runs([tmp_path])[0]] == [0]
    # Named places are always read, also if they are called like a part of a run.
    assert [found.seed for found in read_runs([run / "checkpoints"])[0]] == [1]
    monkeypatch.chdir(run)
    assert [found.seed for found in read_runs([Path("checkpoints")])[0]] == [1]
    assert [found.seed for found in read_runs([Path()])[0]] == [0]
    (run / "config.json").unlink()
    assert [found.seed for found in read_runs([tmp_path])[0]] == [1]
