"""Collected runs are small, complete and without paths, and never overwritten."""

import contextlib
import csv
import json
import shutil

import pytest

from dsrl_jax.config.presets import resolve
from dsrl_jax.training.checkpoints.checksums import write_atomic
from experiments.paper.collect import collect, folder_of, shorten, without_paths
from experiments.paper.existing_runs import collected_runs, matches
from experiments.paper.figures import FIGURES
from experiments.paper.required_runs import Selection, required_runs
from tests.experiments.paper.paper_runs import make_experiment, make_run


@pytest.fixture
def results(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def make_whole(tmp_path, run):
    """The files of a run that was collected at once."""
    collect([run], tmp_path / "whole")
    return files(tmp_path / "whole")


def files(results):
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in results.rglob("*")
        if path.is_file()
    }


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_of_a_million_steps_is_below_40_kB(tmp_path, results):
    layers = {"hidden_0": 0.4126838235294118, "hidden_1": 0.5, "output": 1.0}
    experiment = make_experiment(steps=1_000_000)
    config = {
        "layers": dict.fromkeys(("actor", "critic_1", "critic_2"), layers),
        "versions": {f"library-{number}": "10.20.30" for number in range(10)},
        "command": "--env=halfcheetah --algo=ds_td3",
    }
    run = make_run(tmp_path / "run", experiment, **config)
    assert (run / "evaluations.csv").stat().st_size > 50_000
    (line,) = collect([run], results)
    found = files(results)
    assert set(found) == {
        f"halfcheetah/ds_td3-s0-1000000/{name}" for name in ("config.json", "evaluations.csv")
    }
    size = sum(map(len, found.values()))
    assert size < 40_000 and f"{size:,} bytes" in line
    collected = json.loads(found["halfcheetah/ds_td3-s0-1000000/config.json"])
    assert collected == json.loads((run / "config.json").read_text())


def test_every_evaluation_is_kept_to_seven_digits(tmp_path):
    run = make_run(tmp_path / "run", make_experiment(steps=60_000))
    (tmp_path / "short.csv").write_text(shorten(run / "evaluations.csv") + "\n")
    before, after = rows(run / "evaluations.csv"), rows(tmp_path / "short.csv")
    assert len(before) == len(after) == 13
    for long, short in zip(before, after, strict=True):
        assert list(long) == list(short)
        for name in long:
            if name.startswith("return_"):
                assert float(short[name]) == pytest.approx(float(long[name]), rel=5e-7)
            else:
                assert short[name] == long[name]
    # What is short stays as it is.
    assert shorten(tmp_path / "short.csv") + "\n" == (tmp_path / "short.csv").read_text()


def test_a_collected_run_matches_only_its_own_settings(tmp_path, results):
    experiment = make_experiment(adaptation_period=500)
    collect([make_run(tmp_path / "run", experiment)], results)
    (found,) = collected_runs(results)
    assert matches(found, experiment) and found.reached == 300_000
    assert not matches(found, make_experiment())


def test_the_same_run_again_changes_nothing(tmp_path, results):
    run = make_run(tmp_path / "run", make_experiment())
    collect([run], results)
    before = files(results)
    (line,) = collect([run], results)
    assert "is there already" in line and files(results) == before


def test_a_copy_under_another_name_counts_as_collected(tmp_path, results):
    run = make_run(tmp_path / "run", make_experiment())
    place = results / "halfcheetah" / "ds_td3-s0"
    place.mkdir(parents=True)
    for name in ("config.json", "evaluations.csv"):
        shutil.copy(run / name, place)
    (line,) = collect([run], results)
    assert f"is there already, {place}" in line and len(files(results)) == 2


def test_a_longer_run_is_collected_in_addition_to_the_shorter_one(tmp_path, results):
    runs = [
        make_run(tmp_path / str(steps), make_experiment(steps=steps)) for steps in (10_000, 20_000)
    ]
    collect(runs, results)
    assert {found.reached for found in collected_runs(results)} == {10_000, 20_000}


def change_return(run):
    path = run / "evaluations.csv"
    lines = path.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[3] = "1.0"
    path.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")


def test_nothing_is_overwritten_and_all_or_nothing_is_written(tmp_path, results):
    collect([make_run(tmp_path / "run", make_experiment())], results)
    other = make_run(tmp_path / "other", make_experiment())
    change_return(other)
    new = make_run(tmp_path / "new", make_experiment(seeds=(1,)))
    before = files(results)
    with pytest.raises(ValueError, match="and other returns; nothing is overwritten"):
        collect([new, other], results)
    assert files(results) == before


def test_a_folder_of_something_else_is_taken(tmp_path, results):
    run = make_run(tmp_path / "run", make_experiment())
    (taken := results / "halfcheetah" / "ds_td3-s0-300000").mkdir(parents=True)
    (taken / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="is taken, .* nothing is overwritten"):
        collect([run], results)
    assert set(files(results)) == {"halfcheetah/ds_td3-s0-300000/thesis.tex"}


@pytest.mark.parametrize("written", range(5))
def test_a_killed_collect_can_be_repeated(tmp_path, results, monkeypatch, written):
    """After none, one or two of its files, or with half of the next."""
    run = make_run(tmp_path / "run", make_experiment())
    left = written

    def write_until_killed(path, text):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        if left == 1:
            path.with_name(path.name + ".new").write_text(text[:100])
            raise KeyboardInterrupt
        left -= 2
        write_atomic(path, text)

    with contextlib.suppress(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("experiments.paper.collect.write_atomic", write_until_killed)
        collect([run], results)
    collect([run], results)
    whole = make_whole(tmp_path, run)
    assert {name: files(results)[name] for name in whole} == whole
    assert len(files(results)) == len(whole)


@pytest.mark.parametrize("damage", ["0,300000,5", "0,300000,5,a" + ",1" * 21, '0,"300000'])
def test_a_damaged_table_raises_an_error_with_its_name(tmp_path, results, damage):
    run = make_run(tmp_path / "run", make_experiment())
    with (run / "evaluations.csv").open("a") as file:
        file.write(damage + "\n")
    with pytest.raises(ValueError, match=r"run/evaluations.csv is damaged: "):
        collect([run], results)
    assert not files(results)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "the steps of seed 0 do not increase"),
        (lambda lines: lines[:3] + lines[4:], "seed 0 has no evaluation at step 10,000"),
        (lambda lines: [lines[0].replace("return_mean", "mean"), *lines[1:]], "'return_mean'"),
    ],
)
def test_a_table_that_a_report_would_not_count_raises_an_error(tmp_path, results, lines, said):
    run = make_run(tmp_path / "run", make_experiment())
    table = run / "evaluations.csv"
    table.write_text("\n".join(lines(table.read_text().splitlines())) + "\n")
    with pytest.raises(ValueError, match=said):
        collect([run], results)
    assert not files(results)


def test_nonfinite_returns_raise_an_error(tmp_path, results):
    run = make_run(tmp_path / "run", make_experiment())
    table = run / "evaluations.csv"
    *_, last = rows(table)
    table.write_text(table.read_text().replace(last["return_mean"], "nan"))
    with pytest.raises(ValueError, match="a return of seed 0 is not finite"):
        collect([run], results)


def test_a_folder_of_runs_raises_an_error_that_says_so(tmp_path, results):
    make_run(tmp_path / "runs" / "a", make_experiment())
    with pytest.raises(ValueError, match=r"runs is a folder of run directories: name them, .*/\*"):
        collect([tmp_path / "runs"], results)


def test_a_batch_of_a_sweep_raises_an_error(tmp_path, results):
    varied = {"varied": {"drop_fraction": [0.1, 0.2]}, "freezes": True}
    run = make_run(tmp_path / "run", make_experiment(seeds=(0, 1)), **varied)
    with pytest.raises(ValueError, match="is a batch of a sweep"):
        collect([run], results)


@pytest.mark.parametrize("reached", [0, 295_000])
def test_an_unfinished_run_raises_an_error(tmp_path, results, reached):
    run = make_run(tmp_path / "run", make_experiment(), reached=reached)
    message = f"not finished: it has evaluations up to step {reached:,} of 300,000"
    with pytest.raises(ValueError, match=message):
        collect([run], results)
    assert not files(results)


def test_a_missing_run_raises_an_error(tmp_path, results):
    with pytest.raises(ValueError, match="is no run directory"):
        collect([tmp_path / "nowhere"], results)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("--env=ant --run_dir=/home/me/runs/a --seed=1", "--env=ant --run_dir=a --seed=1"),
        ("--run_dir /home/me/a --seed 1", "--run_dir a --seed 1"),
        ("-run_dir=../me/a", "-run_dir=a"),
        ("'--initial_policy=/home/my self/b'", "--initial_policy=b"),
        ("--initial_policy runs/b --tau=0.5", "--initial_policy b --tau=0.5"),
        ("--env=package.module:Id-v0 /stray", "--env=package.module:Id-v0 stray"),
    ],
)
def test_the_command_line_has_no_path_of_the_machine(command, kept):
    assert without_paths({"command": command}) == {"command": kept}
    assert without_paths({"steps": 1}) == {"steps": 1}


def test_runs_that_differ_have_folders_that_differ():
    runs = [
        run.experiment
        for figure in FIGURES
        for preset in ("v5", "v3")
        for run in required_runs([figure], Selection(seeds=(0, 1), env_preset=preset))
    ]
    different = {repr(experiment): experiment for experiment in runs}
    others = [
        resolve("Ant-v5", "ds_td3", backend="envpool"),
        resolve("ant", "ds_td3", backend="brax"),
        resolve("my_package.tasks:Ant-v5", "ds_td3"),
        resolve("Ant-v5", "ds_td3", preset="official"),
    ]
    folders = [folder_of(experiment) for experiment in [*different.values(), *others]]
    assert len(set(folders)) == len(folders)
    assert folders[-1].as_posix() == "ant/ds_td3-official-s0-1000000"
    assert folder_of(make_experiment(seeds=(0, 1))).name == "ds_td3-s0_1-300000"
