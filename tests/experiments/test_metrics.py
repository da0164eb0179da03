"""The paper's measures, against its own tables through its own curves."""

import csv
from pathlib import Path

import pytest

from experiments.metrics import learning_curve_area, score
from tests import reference

CURVES = Path(__file__).parents[2] / "results" / "paper" / "curves.csv"

# Table 2 of the paper.
TABLE_2 = {
    ("HalfCheetah", "td3"): 1.7686,
    ("HalfCheetah", "static_td3"): 1.7666,
    ("HalfCheetah", "ds_td3"): 1.9560,
    ("Walker2d", "ds_td3"): 0.6956,
    ("Hopper", "td3"): 0.4788,
    ("Ant", "ds_td3"): 0.6623,
    ("Humanoid", "static_td3"): 0.5182,
}


@pytest.mark.parametrize("cell", TABLE_2, ids=" ".join)
def test_learning_curve_area_gives_the_papers_table_from_its_figure(cell):
    with CURVES.open(newline="") as file:
        returns = [
            float(row["return_mean"])
            for row in csv.DictReader(file)
            if row["figure"] == "1" and (row["env"], row["algo"]) == cell
        ]
    assert len(returns) == 201
    assert learning_curve_area(returns, 1_000_000, 5_000) == pytest.approx(TABLE_2[cell], abs=1e-4)


def test_learning_curve_area_of_other_periods_is_in_the_same_unit():
    returns = [1.0, 2.0, 3.0]
    area = learning_curve_area(returns, 2_000, 1_000)
    assert area == pytest.approx(6 / 2_000 * 0.2)  # by hand
    assert area == pytest.approx(reference.learning_curve_area(returns, 2_000, 1_000))


def test_score_takes_the_last_evaluation_and_the_last_ten():
    found = score(range(0, 60_000, 5_000), [float(i) for i in range(12)], 5_000)
    assert found.final == 11
    assert found.last10 == 6.5  # of 2 to 11
    assert score([0, 5_000], [4.0, 6.0], 5_000).last10 == 5  # of all there are


def test_an_evaluation_between_two_periods_has_no_part_in_the_area():
    whole = score([0, 5_000, 10_000], [1.0, 2.0, 3.0], 5_000)
    stopped = score([0, 5_000, 7_000, 10_000], [1.0, 2.0, 9.0, 3.0], 5_000)
    assert stopped.learning_curve_area == whole.learning_curve_area
    assert score([0, 5_000, 7_000], [1.0, 2.0, 9.0], 5_000).final == 9
    # Shorter than a period: as if there were one.
    assert score([0, 3_000], [4.0, 9.0], 5_000).learning_curve_area == 4 / 5_000
