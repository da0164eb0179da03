"""Whole runs from the command line, in a toy environment with tiny networks."""

import csv
import errno
import io
import json
import sys

import pytest

from experiments import plot, run

COMMAND = [
    "--env=tests.toy_environments:PointMass-v0",
    "--hidden_sizes=8,8",
    "--batch_size=8",
    "--start_steps=20",
    "--eval_period=25",
    "--log_period=25",
    "--eval_episodes=2",
    "--adaptation_period=10",
    "--lambda1=1",
    "--lambda2=2",
    "--seeds=0:2",
]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(plot, "draw_run", lambda directory: "no pictures")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "first"
    assert run.main([*COMMAND, "--steps=75", f"--run_dir={directory}"]) == 0
    return directory


def test_a_run_directory_holds_settings_rows_and_a_curve(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["seeds"] == [0, 1]
    assert config["drop_fraction"] == 0.05
    assert config["observation_size"] == 2
    assert config["layers"]["actor"]["output"] == 1
    assert set(config["versions"]) >= {"jax", "gymnasium", "mujoco"}
    evaluations = rows(finished / "evaluations.csv")
    order = [(row["env_step"], row["seed"]) for row in evaluations]
    assert order == [(str(step), str(seed)) for step in (0, 25, 50, 75) for seed in (0, 1)]
    for row in evaluations:
        mean = (float(row["return_0"]) + float(row["return_1"])) / 2
        assert float(row["return_mean"]) == pytest.approx(mean)
    assert [row["updates"] for row in evaluations[::2]] == ["0", "5", "30", "55"]
    assert (finished / "curve.png").stat().st_size > 1_000
    assert list((finished / "tensorboard").iterdir())


def test_every_evaluation_has_rows_of_the_topology(finished):
    found = rows(finished / "topology.csv")
    layers = [
        (network, layer)
        for network in ("actor", "critic_1", "critic_2")
        for layer in ("hidden_0", "hidden_1", "output")
    ]
    order = [(row["env_step"], row["seed"], row["network"], row["layer"]) for row in found]
    assert order == [
        (str(step), str(seed), *layer)
        for step in (0, 25, 50, 75)
        for seed in (0, 1)
        for layer in layers
    ]
    for row in found:
        sparse, started = row["layer"] != "output", row["env_step"] != "0"
        assert float(row["overlap"]) == 1 or (sparse and int(row["updates"]) >= 10)
        assert (row["dormant_units"] != "") == started  # at step 0 there is no batch
        if row["layer"] == "hidden_0":
            degrees = [int(degree) for degree in row["input_degrees"].split()]
            assert len(degrees) == (2 if row["network"] == "actor" else 3)
            assert sum(degrees) == int(row["connections"])
        else:
            assert row["input_degrees"] == ""
    # There are three adaptations before step 50.
    moved = [row for row in found if row["env_step"] == "50" and row["layer"] == "hidden_1"]
    for row in moved:
        assert float(row["churn"]) == pytest.approx(1 - float(row["overlap"])) != 0
    assert (finished / "degrees.png").stat().st_size > 1_000


def test_a_longer_run_of_the_same_command_continues_exactly(
    tmp_path, capsys, stand_in, no_pictures
):
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run.main([*COMMAND, "--steps=125", f"--run_dir={whole}"]) == 0
    assert run.main([*COMMAND, "--steps=75", f"--run_dir={part}"]) == 0
    capsys.readouterr()
    assert run.main([*COMMAND, "--steps=125", f"--run_dir={part}"]) == 0
    assert "continues" in capsys.readouterr().out
    for name in ("evaluations.csv", "training.csv", "topology.csv"):
        assert (part / name).read_text() == (whole / name).read_text()


def test_a_directory_of_another_run_is_an_error_and_stays_as_it_is(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert run.main([*COMMAND, "--tau=0.5", "--steps=125", f"--run_dir={finished}"]) == 2
    error = capsys.readouterr().err
    assert "tau is 0.005 there and 0.5 here" in error and error.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_directory_with_other_files_is_an_error_and_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("mine")
    assert run.main([*COMMAND, "--steps=75", f"--run_dir={tmp_path}"]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run.main(["--env=halfcheetah", "--dry_run"]) == 0
    plan = capsys.readouterr().out
    for part in ("106,169 of 214,784 weights", "50.57%", "0.4918 of dense", "drop_fraction"):
        assert part in plan
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_names_settings_as_flags_do(capsys):
    assert run.main(["--env=halfcheetah", "--dry_run"]) == 0
    _, settings, *_ = capsys.readouterr().out.split("\n\n")
    named = {line.split()[0] for line in settings.splitlines()}
    assert "sparsity" in named and named <= set(run.make_flags())


def test_a_layer_that_comes_out_dense_is_noted(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run.main([*COMMAND, "--lambda1=9", "--dry_run"]) == 0
    assert "note: actor: hidden_0 comes out dense" in capsys.readouterr().out


def test_a_number_that_is_not_finite_stops_the_run_in_one_line(tmp_path, capsys, stand_in):
    directory = tmp_path / "wild"
    command = ["--env=tests.toy_environments:NanEpisode-v0", *COMMAND[1:], "--seeds=5:7"]
    assert run.main([*command, "--steps=75", f"--run_dir={directory}"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: seed 6") and str(directory) in error
    assert rows(directory / "evaluations.csv")


def test_curves_of_a_directory_can_be_drawn_again(finished, tmp_path):
    picture = tmp_path / "curves.png"
    assert plot.main([str(finished), f"--output={picture}"]) == 0
    assert picture.stat().st_size > 1_000
    assert plot.main([str(tmp_path / "nothing")]) == 2


@pytest.mark.parametrize("output", ["no_folder/curves.png", "curves.abc"])
def test_a_picture_that_cannot_be_written_is_one_line(finished, tmp_path, capsys, output):
    assert plot.main([str(finished), f"--output={tmp_path / output}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


class ClosedPipe(io.StringIO):
    """A pipe whose reader closes it before the results."""

    def write(self, text):
        if "FLOPs" in text:
            raise BrokenPipeError
        return super().write(text)


def test_a_closed_pipe_is_no_failure_of_the_run(tmp_path, monkeypatch, capsys, stand_in):
    directory = tmp_path / "run"
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    command = [*COMMAND, "--steps=25", f"--run_dir={directory}"]
    with pytest.raises(BrokenPipeError):
        run.main(command)
    monkeypatch.undo()
    # The same command draws the missing pictures.
    assert not (directory / "curve.png").exists()
    assert run.main(command) == 0
    assert "pictures: curve.png" in capsys.readouterr().out
    (directory / "curve.png").unlink()
    monkeypatch.setattr(plot, "draw", fail)
    assert run.main(command) == 1
    assert "No space left" in capsys.readouterr().err


def fail(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
