"""Learning curves: the panels, their curves, and the output of the command."""

import shutil

import numpy as np
import pytest
from matplotlib import pyplot

from experiments import plot
from experiments.report import figures
from experiments.report.groups import group
from experiments.report.paper_curves import read_curves
from experiments.report.read import read_runs
from tests.experiments.report.report_runs import write_run

RETURNS = [[0.0, 5, 10], [2.0, 7, 12]]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    pyplot.close("all")


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
        "DS-TD3, Ant-v5, 5,000 steps",
        "DS-TD3, Ant-v5, 10,000 steps",
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
    # The paper has no curve for other settings.
    assert "paper, 5 seeds" not in other


def bounds(band):
    """Returns the bounds of a `fill_between`, by step."""
    points = band.get_paths()[0].vertices
    found = {step: points[points[:, 0] == step, 1] for step in points[:, 0]}
    return {step: (min(values), max(values)) for step, values in found.items()}


def test_the_band_is_one_standard_deviation_with_n_minus_1(tmp_path):
    write_run(tmp_path / "1", RETURNS, seeds=(0, 1), adaptation_period=200)
    (axis,) = draw(tmp_path)
    (band,) = axis.collections
    assert bounds(band) == {
        step: (pytest.approx(mean - 2**0.5), pytest.approx(mean + 2**0.5))
        for step, mean in ((0, 1), (5_000, 6), (10_000, 11))
    }


def test_panels_of_one_task_have_the_same_returns_with_all_of_them(tmp_path):
    write_run(tmp_path / "1", [[-400.0, 100.0]])
    write_run(tmp_path / "2", [[0.0, 9_000.0]], algo="td3")
    first, second = (axis.get_ylim() for axis in draw(tmp_path))
    assert first == second and first[0] < -400 and 9_000 < first[1]
    write_run(tmp_path / "3", [[50.0, 60.0]], env="Hopper-v5")
    *_, other = (axis.get_ylim() for axis in draw(tmp_path))
    assert other != first


@pytest.mark.parametrize("final", [-900.0, 900.0])
def test_the_papers_deviations_and_0_are_inside_the_panel(tmp_path, final):
    write_run(tmp_path / "1", [[final, final]], steps=300_000)
    (axis,) = draw(tmp_path)
    low, high = axis.get_ylim()
    paper, ours = axis.collections
    values = [value for pair in bounds(paper).values() for value in pair]
    assert low < min(*values, 0, final) and max(*values, 0, final) < high
    assert max(bounds(paper)) == 5_000  # It ends where ours does.


def test_a_panel_of_many_settings_has_its_whole_title(tmp_path):
    settings = {"drop_fraction": 0.02, "adaptation_period": 200, "lambda1": 3.0, "lambda2": 33.0}
    write_run(tmp_path / "1", [[0.0, 1.0]], **settings)
    (axis,) = draw(tmp_path)
    title, whole = axis.title.get_window_extent(), axis.figure.bbox
    assert whole.x0 < title.x0 and title.x1 < whole.x1 and title.y1 < whole.y1


def test_a_single_evaluation_is_a_point(tmp_path):
    write_run(tmp_path / "1", [[3.0]], steps=5_000)
    (axis,) = draw(tmp_path)
    assert lines(axis)["ours, 1 seed"].get_marker() == "o"


def test_many_panels_take_several_rows(tmp_path):
    for place in range(plot.MOST_IN_A_ROW + 1):
        write_run(tmp_path / str(place), [[0.0, 1.0]], adaptation_period=100 * (place + 1))
    axes = draw(tmp_path)
    assert len(axes) == plot.MOST_IN_A_ROW + 1
    assert len({axis.get_position().y0 for axis in axes}) == 2
    (alone,) = draw(tmp_path / "0")
    assert axes[0].figure.bbox.height == 2 * alone.figure.bbox.height


def test_a_damaged_run_is_noted_and_the_others_are_drawn(tmp_path, capsys):
    write_run(tmp_path / "1", [[0.0, 1.0]])
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    (tmp_path / "2" / "config.json").write_text("{")
    picture = tmp_path / "curves.png"
    assert plot.main([str(tmp_path), f"--output={picture}"]) == 0
    found = capsys.readouterr()
    assert found.out == f"{picture}\n" and picture.stat().st_size > 1_000
    assert found.err.startswith(f"note: {tmp_path / '2'} is not counted: ")


def test_methods_of_one_algorithm_in_one_picture_have_lines_that_differ(tmp_path, monkeypatch):
    for place in range(figures.MOST_TOGETHER):
        write_run(tmp_path / str(place), [[0.0, 1.0]], adaptation_period=100 * (place + 1))
    drawn = []
    monkeypatch.setattr(figures, "draw_mean", lambda axis, group, dash: drawn.append(dash))
    figures.draw_curves(group(read_runs([tmp_path])[0]))
    assert len(set(drawn)) == len(drawn) == figures.MOST_TOGETHER
