"""The command line of experiments.paper: errors, list, costs and skipped runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.paper import command
from tests.experiments.paper.paper_runs import make_experiment, make_run

ROOT = Path(__file__).parents[3]

BAD = [
    ([], "name what to run, one of fig1, costs, "),
    (["fig7"], "a figure must be one of"),
    (["fig1", "--step=5"], "unknown flag --step; did you mean --steps"),
    (["fig1", "--steps=many"], "--steps must be a whole number, got 'many'"),
    (["fig1", "--steps=0"], "steps must be at least 1, got 0"),
    (["fig1", "--envs=ant,reacher"], "--envs must be one of"),
    (["fig1", "--algos=td4"], "--algos must be one of"),
    (["fig2a", "--envs=ant"], "--envs and --algos leave no run: fig2a has ds_td3, td3"),
    (["costs", "--envs=ant"], "costs prints the paper's analysis and takes no --envs"),
    (["--list", "--results=nowhere"], "--results must be an existing folder, got nowhere"),
    (["fig1", "--seeds=3:3"], "--seeds must name at least one seed"),
    (["fig1", "--seeds=1,1"], "seeds must be different"),
    (["fig1", "--seeds=-1"], "seeds must be different"),
    (["fig1", "--env_preset=v9"], "env_preset"),
    (["fig1", "--backend=brax"], "--backend must be one of gymnasium, envpool, got 'brax'"),
    (["fig1", "--device=abacus"], "--device must be one of"),
    (["fig1", "--jobs=0"], "--jobs must be positive, got 0"),
    (["fig1", "--threads=0"], "--threads must be positive, got 0"),
    (["fig1", "--time_limit=soon"], "--time_limit must be a number, got 'soon'"),
    (["fig1", "--time_limit=-1"], "--time_limit must be positive, got -1"),
    (["collect"], "collect what?"),
    (["collect", "nowhere"], "nowhere is no run directory"),
    (["--list", "fig7"], "a figure must be one of"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_a_mistake_is_one_line_and_leaves_no_file(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "compute", None)
    assert command.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {message}") and said.err.count("\n") == 1
    assert not said.out and not list(tmp_path.iterdir())


def test_errors_and_the_list_need_no_jax(tmp_path):
    lines = [*(arguments for arguments, _ in BAD), ["--list"], ["--help"]]
    program = (
        "import sys\nfrom experiments.paper import command\ncommand.compute = None\n"
        f"print([command.main(line) for line in {lines!r}])\nassert 'jax' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    end = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True
    )
    assert end.returncode == 0, end.stderr.decode()
    assert end.stdout.decode().splitlines()[-1] == str([2] * len(BAD) + [0, 0])


def test_the_list_has_every_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--list", "--seeds=0:1"]) == 0
    text = capsys.readouterr().out
    for figure in ("fig1", "costs", "fig2a", "fig2b", "fig3a", "fig3b", "fig4"):
        assert f"\n{figure} " in text
    for part in ("Tables 1 and 2", "e = 2000", "sparsity 80 %", "Tables 4 and 5", "no rate yet"):
        assert part in text
    assert command.main(["--list", "table4", "--seeds=0:2"]) == 0
    text = capsys.readouterr().out
    assert "fig4" in text and "fig1" not in text and "seeds 0,1" in text


def test_the_list_names_figures_without_selected_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--list", "--envs=ant"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    after = lines[lines.index("fig2a Figure 2a: adaptation schedules") + 1]
    assert after == "none of its runs was chosen"
    assert "TD3 5 0 - ant; seeds 0,1,2,3,4" in lines


def test_the_costs_run_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(["costs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    dense = next(row for row in rows if row[0] == "td3")
    sparse = next(row for row in rows if row[0] == "ds_td3")
    assert dense[3] == "214784" and dense[6] == "1.0744e+14"
    assert sparse[5] == "50.57%" and sparse[7] == "0.4918"
    assert not list(tmp_path.iterdir())


def test_finished_runs_are_skipped(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/a"), make_experiment())
    make_run(Path("results/b/c"), make_experiment(seeds=(1,)), saved=False)
    before = sorted(tmp_path.rglob("*"))
    choice = ["--envs=halfcheetah", "--algos=ds_td3", "--seeds=0:2", "--steps=300000"]
    assert command.main(["fig1", *choice]) == 0
    assert capsys.readouterr().out == "2 of 2 runs are done; to compute: 0\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_are_collected_by_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/a"), make_experiment())
    assert command.main(["collect", "runs/a", "--results=kept"]) == 0
    assert "runs/a: kept/halfcheetah/ds_td3-s0-300000" in capsys.readouterr().out
    assert len(list((tmp_path / "kept").rglob("*.csv"))) == 1


@pytest.mark.parametrize(
    ("arguments", "flags", "together"),
    [
        ([], ["--threads=1"], False),
        (["--together"], ["--threads=1"], True),
        (["--threads=2"], ["--threads=2"], False),
        (["--device=gpu"], ["--device=gpu"], True),
        (["--device=gpu", "--notogether"], ["--device=gpu"], False),
        (["--device=gpu", "--threads=4"], ["--device=gpu", "--threads=4"], True),
        (["--device=tpu", "--deterministic"], ["--device=tpu", "--deterministic=true"], True),
    ],
)
def test_the_flags_of_the_machine_reach_its_runs(arguments, flags, together):
    values = command.make_flags()
    names = command.parse(values, ["fig1", *arguments], stray=True)
    machine = command.prepare(values, names).machine
    assert (list(machine.flags), machine.together) == (flags, together)
