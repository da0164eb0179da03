"""Statistics of few runs against cases by hand, identities and other implementations."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.report import published
from experiments.report.methods import PAPER_TASKS
from experiments.report.statistics import (
    Sample,
    closeness,
    compare,
    describe,
    from_population,
    interquartile_mean,
    performance_profile,
    power,
    power_of_closeness,
    probability_of_improvement,
    seeds_needed,
    stratified_interval,
)

# Six runs of three tasks; expected values are of rliable 1.2.0 with arch 7.2.0's bootstrap.
FIRST = np.array(
    [
        [2.669, 2.244, 1.991],
        [2.766, 1.941, 3.549],
        [2.843, 2.619, 1.019],
        [0.648, 1.086, 2.931],
        [2.588, 0.867, 2.914],
        [1.552, 1.553, 4.387],
    ]
).T
SECOND = np.array(
    [
        [1.527, 1.75, 1.767],
        [0.361, 1.826, 5.813],
        [0.548, 2.528, 2.713],
        [2.685, 0.938, 1.137],
        [0.556, 1.426, 3.625],
        [0.837, 0.191, 1.544],
    ]
).T


def test_aggregates_equal_rliables():
    assert interquartile_mean(FIRST) == pytest.approx(2.2766)
    assert interquartile_mean(SECOND) == pytest.approx(1.528)
    assert probability_of_improvement(FIRST, SECOND) == pytest.approx(2 / 3)
    profile = performance_profile(FIRST, np.array([0.5, 1, 2, 4]))
    assert profile == pytest.approx([1, 16 / 18, 10 / 18, 1 / 18])


def test_intervals_are_near_rliables():
    # rliable drew 20,000 and 5,000 times.
    assert stratified_interval(interquartile_mean, FIRST) == pytest.approx(
        (1.72229, 2.646905), abs=0.03
    )
    found = stratified_interval(probability_of_improvement, FIRST, SECOND)
    assert found == pytest.approx((0.48148148, 0.84259259), abs=0.03)


def test_an_interval_of_one_task_is_scipys_percentile_bootstrap():
    runs = FIRST[0]
    theirs = stats.bootstrap(
        (runs,), lambda x, axis: stats.trim_mean(x, 0.25, axis), method="percentile", rng=1
    ).confidence_interval
    ours = stratified_interval(interquartile_mean, [runs])
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05)


def test_a_single_seed_has_no_interval():
    assert all(map(math.isnan, stratified_interval(interquartile_mean, [np.ones(1), np.ones(3)])))


def test_seeds_are_redrawn_within_their_task():
    # Mixed tasks would have other means.
    tasks = [np.zeros(3), np.full(3, 100.0)]
    assert stratified_interval(
        lambda scores: np.mean(np.concatenate(scores, axis=-1), axis=-1), tasks
    ) == (50, 50)


def test_interquartile_mean_is_of_the_middle_half():
    assert interquartile_mean([np.array([0.0, 1, 2, 100])]) == 1.5
    # Two tasks of unlike numbers of seeds: 1, 2, 3, 4 of 0 to 5, and then trimmed by one each.
    assert interquartile_mean([np.array([5.0, 0]), np.array([1.0, 2, 3, 4])]) == 2.5


def test_probability_of_improvement_by_hand():
    better, worse = [np.array([3.0, 4])], [np.array([1.0, 2])]
    assert probability_of_improvement(better, worse) == 1
    assert probability_of_improvement(worse, better) == 0
    assert probability_of_improvement(better, better) == 0.5  # a tie is half
    mixed = probability_of_improvement([np.array([2.0, 0])], [np.array([1.0, 0, 2])])
    assert mixed == pytest.approx((2 + 0.5 + 0.5) / 6)


def test_probability_of_improvement_is_mann_whitneys_u(rng):
    first, second = rng.integers(0, 5, 7), rng.integers(0, 5, 4)
    u = stats.mannwhitneyu(first, second).statistic
    assert probability_of_improvement([first], [second]) == pytest.approx(u / 28)


def test_describe_has_the_samples_deviation():
    assert describe([1.0, 3.0]) == (2, pytest.approx(math.sqrt(2)), 2)
    assert math.isnan(describe([1.0]).deviation)
    assert from_population(2.0, float(np.std([1.0, 3.0])), 2) == pytest.approx(describe([1.0, 3.0]))


def test_compare_is_scipys_test_of_the_values(rng):
    first, second = rng.normal(1, 1, 5), rng.normal(0, 3, 4)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    ours = compare(describe(first), describe(second))
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval()))
    assert ours.difference == pytest.approx(first.mean() - second.mean())


def test_compare_without_deviations_is_nan():
    assert math.isnan(compare(describe([1.0]), describe([2.0, 3.0])).p_value)
    assert math.isnan(compare(describe([1.0, 1.0]), describe([2.0, 2.0])).p_value)


PAPERS_OWN = {False: [0.39, 0.07, 0.08, 0.28, 0.05], True: [0.34, 0.045, 0.06, 0.24, 0.038]}


@pytest.mark.parametrize("as_sample, values", PAPERS_OWN.items())
def test_welchs_test_of_the_papers_own_table(as_sample, values):
    for task, value in zip(PAPER_TASKS, values, strict=True):
        sparse, dense = (
            Sample(*published.RETURNS["1"][task][algo], 5)
            if as_sample
            else published.returns_of("1", task, algo)
            for algo in ("ds_td3", "td3")
        )
        assert compare(sparse, dense).p_value == pytest.approx(value, abs=0.005)


# Two-sided at .05 with a power of .8, from Cohen's tables and statsmodels 0.15.
@pytest.mark.parametrize("effect, seeds", [(0.5, 64), (0.8, 26), (1.0, 17), (2.0, 6)])
def test_seeds_needed_equal_the_tables(effect, seeds):
    assert seeds_needed(Sample(effect, 1, 2), Sample(0, 1, 5)) == seeds
    assert seeds_needed(Sample(0, 1, 5), Sample(effect, 1, 2)) == seeds


def test_seeds_needed_is_the_least_number_of_enough_power():
    first, second = Sample(3.0, 1, 2), Sample(0, 4, 2)
    found = seeds_needed(first, second)
    powers = [
        power(first._replace(seeds=seeds), second._replace(seeds=seeds))
        for seeds in (found - 1, found)
    ]
    assert powers[0] < 0.8 <= powers[1]


def test_power_is_how_often_the_test_finds_it(rng):
    first, second = rng.normal(2, 1, (4000, 5)), rng.normal(0, 2, (4000, 5))
    found = stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05
    assert power(Sample(2, 1, 5), Sample(0, 2, 5)) == pytest.approx(found.mean(), abs=0.03)


@pytest.mark.parametrize("difference", [0.0, 0.5])
def test_power_of_closeness_is_how_often_both_tests_find_it(rng, difference):
    first, second = rng.normal(difference, 1, (4000, 8)), rng.normal(0, 1.5, (4000, 8))
    ends = [
        stats.ttest_ind(first + side * 2.0, second, axis=1, equal_var=False, alternative=way).pvalue
        for side, way in ((1, "greater"), (-1, "less"))
    ]
    found = (np.maximum(*ends) < 0.05).mean()
    samples = Sample(difference, 1, 8), Sample(0, 1.5, 8)
    assert power_of_closeness(*samples, 2.0) == pytest.approx(found, abs=0.03)


def test_there_is_no_number_of_seeds_for_no_difference():
    assert seeds_needed(Sample(1, 1, 2), Sample(1, 1, 2)) is None
    assert seeds_needed(describe([1.0]), describe([2.0])) is None


def test_closeness_is_the_greater_of_two_one_sided_tests(rng):
    first, second = rng.normal(0, 1, 8), rng.normal(0.2, 2, 6)
    theirs = max(
        stats.ttest_ind(first + 3, second, equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(first - 3, second, equal_var=False, alternative="less").pvalue,
    )
    assert closeness(describe(first), describe(second), 3) == pytest.approx(theirs)
