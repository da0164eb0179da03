"""Learning curves: what shares a panel, what is drawn in it, and what the command says."""

import shutil

import numpy as np

from experiments import plot
from experiments.paper_curves import read_curves
from experiments.report.methods import group
from experiments.report.read import read_runs
from tests.experiments.report_runs import write_run

RETURNS = [[0.0, 5, 10], [2.0, 7, 12]]


def draw(*places):
    runs, _ = read_runs(places)
    return plot.make_figure(group(runs)).axes


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def test_a_panel_for_each_task_method_setting_and_length(tmp_path):
    write_run(tmp_path / "1", RETURNS, env="Hopper-v5", algo="sac", seeds=(0, 1))
    write_run(tmp_path / "2", RETURNS, env="Ant-v5", algo="sac", seeds=(0, 1))
    write_run(tmp_path / "3", RETURNS[:1], env="Ant-v5", algo="sac", preset="figure1")
    write_run(tmp_path / "4", RETURNS[:1], env="Ant-v5", adaptation_period=200)
    write_run(tmp_path / "5", RETURNS[:1], env="Ant-v5")
    write_run(tmp_path / "6", [RETURNS[0][:2]], env="Ant-v5")
    assert [axis.get_title() for axis in draw(tmp_path)] == [
        "SAC, Hopper-v5",
        "DS-TD3, Ant-v5",
        "DS-TD3, Ant-v5",
        "DS-TD3 (e = 200), Ant-v5",
        "SAC, Ant-v5",
        "SAC (figure1), Ant-v5",
    ]


def test_seeds_their_mean_and_the_papers_curve_where_it_has_one(tmp_path):
    write_run(tmp_path / "1", RETURNS, seeds=(0, 1))
    write_run(tmp_path / "2", RETURNS[:1], adaptation_period=200)
    usual, other = map(lines, draw(tmp_path))
    mean = usual["ours, 2 seeds"]
    assert mean.get_xdata().tolist() == [0, 5_000, 10_000]
    assert mean.get_ydata().tolist() == [1, 6, 11]
    assert len(usual) == 4  # and each seed
    paper = read_curves()["1", "HalfCheetah", "ds_td3"].until(10_000)
    np.testing.assert_array_equal(usual["paper, 5 seeds"].get_ydata(), paper.mean)
    # The paper's curve is of its own settings.
    assert "paper, 5 seeds" not in other


def test_panels_of_one_task_have_the_same_returns(tmp_path):
    write_run(tmp_path / "1", [[0.0, 100.0]])
    write_run(tmp_path / "2", [[0.0, 9_000.0]], algo="td3")
    first, second = draw(tmp_path)
    assert first.get_ylim() == second.get_ylim()
    write_run(tmp_path / "3", [[0.0, 1.0]], env="Hopper-v5")
    assert len({axis.get_ylim() for axis in draw(tmp_path)}) > 1


def test_many_panels_take_several_rows(tmp_path):
    for place in range(plot.MOST_IN_A_ROW + 1):
        write_run(tmp_path / str(place), [[0.0, 1.0]], adaptation_period=100 * (place + 1))
    axes = draw(tmp_path)
    assert len(axes) == plot.MOST_IN_A_ROW + 1
    assert len({axis.get_position().y0 for axis in axes}) == 2


def test_what_is_damaged_is_told_and_the_others_are_drawn(tmp_path, capsys):
    write_run(tmp_path / "1", [[0.0, 1.0]])
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    (tmp_path / "2" / "config.json").write_text("{")
    picture = tmp_path / "curves.png"
    assert plot.main([str(tmp_path), f"--output={picture}"]) == 0
    found = capsys.readouterr()
    assert found.out == f"{picture}\n" and picture.stat().st_size > 1_000
    assert found.err.startswith(f"note: {tmp_path / '2'} is not counted: ")
