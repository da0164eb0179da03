"""The paper's measures, computed by hand; report/test_published.py checks them by its tables."""

import pytest

from experiments.run_dir.metrics import learning_curve_area, score
from tests import reference


def test_learning_curve_area_of_other_periods_is_in_the_same_unit():
    returns = [1.0, 2.0, 3.0]
    area = learning_curve_area(returns, 2_000, 1_000)
    assert area == pytest.approx(6 / 2_000 * 0.2)  # by hand
    assert area == pytest.approx(reference.learning_curve_area(returns, 2_000, 1_000))


def test_score_takes_the_last_evaluation_and_the_last_ten():
    found = score(range(0, 60_000, 5_000), [float(i) for i in range(12)], 5_000)
    assert found.final == 11
    assert found.last10 == 6.5  # of 2 to 11
    assert score([0, 5_000], [4.0, 6.0], 5_000).last10 == 5  # the mean of all


def test_an_evaluation_between_two_periods_does_not_count_in_the_area():
    whole = score([0, 5_000, 10_000], [1.0, 2.0, 3.0], 5_000)
    stopped = score([0, 5_000, 7_000, 10_000], [1.0, 2.0, 9.0, 3.0], 5_000)
    assert stopped.learning_curve_area == whole.learning_curve_area
    assert score([0, 5_000, 7_000], [1.0, 2.0, 9.0], 5_000).final == 9
    # A run shorter than a period counts as one period.
    assert score([0, 3_000], [4.0, 9.0], 5_000).learning_curve_area == 4 / 5_000
