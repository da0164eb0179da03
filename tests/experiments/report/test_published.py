"""The paper's tables agree with its digitised curves."""

import pytest

from experiments.paper.figures import STEPS
from experiments.report import published
from experiments.report.claims import FIGURE_2A, FIGURE_2B
from experiments.report.methods import PAPER_TASKS, Method
from experiments.report.paper_curves import PERIOD, read_curves
from experiments.run_dir.metrics import score, steps_to_reach

FIGURES = {"1": "1", "2": "1", "4": "4", "5": "4"}
AREAS = [
    (table, task, algo)
    for table, rows in published.AREAS.items()
    for task, row in rows.items()
    for algo in row
]
RETURNS = [
    (table, task, algo)
    for table, rows in published.RETURNS.items()
    for task, row in rows.items()
    for algo in row
]


def test_the_tables_are_complete():
    assert len(AREAS) == len(RETURNS) == 30


@pytest.mark.parametrize("table, task, algo", AREAS)
def test_areas_of_the_curves_equal_the_tables(table, task, algo):
    curve = read_curves()[FIGURES[table], task, algo]
    printed = published.AREAS[table][task][algo]
    area = score(curve.steps.astype(int), curve.mean.tolist(), PERIOD).learning_curve_area
    assert area == pytest.approx(printed, abs=1e-4)
    assert curve.area(STEPS) == pytest.approx(area)


@pytest.mark.parametrize("table, task, algo", RETURNS)
def test_last_evaluations_of_the_curves_equal_the_tables(table, task, algo):
    curve = read_curves()[FIGURES[table], task, algo]
    mean, deviation = published.RETURNS[table][task][algo]
    final = score(curve.steps.astype(int), curve.mean.tolist(), PERIOD).final
    assert final == curve.at(STEPS)[0] == pytest.approx(mean, abs=0.03)
    if (table, task, algo) != ("1", "HalfCheetah", "ds_td3"):
        # There the figure has 448.17, the table 482.55.
        assert curve.at(STEPS)[1] == pytest.approx(deviation, abs=0.03)


def test_figure_2_agrees_with_the_tables():
    for (_, final, area), algo in [
        (FIGURE_2A["e = 1000"], "ds_td3"),
        (FIGURE_2A["dense"], "td3"),
        (FIGURE_2B["50 %"], "ds_td3"),
        (FIGURE_2B["0 %"], "td3"),
    ]:
        assert final == pytest.approx(published.RETURNS["1"]["HalfCheetah"][algo][0], abs=0.5)
        assert area == pytest.approx(published.AREAS["2"]["HalfCheetah"][algo], abs=5e-4)


def test_steps_to_dense_of_the_papers_curves():
    found = []
    for task in PAPER_TASKS:
        sparse = read_curves()["1", task, "ds_td3"]
        final = read_curves()["1", task, "td3"].at(STEPS)[0]
        found.append(steps_to_reach(sparse.steps.tolist(), sparse.mean.tolist(), final))
    assert found == [730_000, 420_000, 160_000, 530_000, 465_000]


def test_steps_to_reach_by_hand():
    assert steps_to_reach([0, 10, 20], [1.0, 5.0, 3.0], 4.0) == 10
    assert steps_to_reach([0, 10], [1.0, 4.0], 4.0) is None  # equal is not above


def method(**changes):
    return Method("HalfCheetah-v5", "td3", "paper", "v5", "gymnasium", ())._replace(**changes)


@pytest.mark.parametrize(
    "of, figure",
    [
        (method(), "1"),
        (method(algo="sac"), "4"),
        (method(algo="sac", preset="figure1"), "1"),
        (method(changes=(("initial_policy", ("td3", "paper", 500_000)),)), "3a"),
        (method(changes=(("initial_policy", ("td3", "paper", 700_000)),)), "3b"),
        (method(changes=(("tau", 0.1),)), ""),
        (method(backend="brax"), ""),  # never a Brax return beside a MuJoCo one
        (method(env="Pendulum-v1"), ""),
        (method(env="my_package:HalfCheetah-v5"), ""),
    ],
)
def test_the_figure_that_shows_a_method(of, figure):
    assert published.figure_of(of) == figure


def test_a_curve_is_read_at_its_last_evaluation():
    curve = read_curves()["1", "Ant", "td3"]
    assert curve.at(7_000) == curve.at(5_000) == (curve.mean[1], curve.deviation[1])
    assert curve.area(5_000) == pytest.approx((curve.mean[0] + curve.mean[1]) / 5_000)
