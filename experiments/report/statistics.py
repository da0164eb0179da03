"""Statistics of few runs: aggregates with intervals, tests of two means, and seeds needed.

Aggregates follow Agarwal et al. 2021 ("Deep Reinforcement Learning at the Edge of the Statistical
Precipice"); bootstraps, tests and distributions are scipy's. The scores of a method are one array
per task with an entry per seed; methods and tasks may have different numbers of seeds.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

# One array per task. The last axis is the seeds; axes before it are draws of a bootstrap.
Scores = Sequence[np.ndarray]

LEVEL = 0.95  # of intervals; tests use 1 - LEVEL
POWER = 0.8  # probability that a test finds a difference as large as the measured one
RESAMPLES = 2_000
# `seeds_needed` searches up to here.
MOST_SEEDS = 1_000


class Interval(NamedTuple):
    """Both ends; NaN if there is no interval."""

    low: float
    high: float


class Sample(NamedTuple):
    """Summary of one method's seeds on one task."""

    mean: float
    deviation: float  # of the sample, over n - 1; NaN for one seed
    seeds: int


class Comparison(NamedTuple):
    """Welch's two-sided test of two means."""

    difference: float  # of the means, first minus second
    interval: Interval  # of the difference
    p_value: float  # NaN if a deviation is unknown


def describe(values: Sequence[float] | np.ndarray) -> Sample:
    """Returns mean and sample deviation of at least one value."""
    values = np.asarray(values, float)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Sample(float(values.mean()), deviation, len(values))


def from_population(mean: float, deviation: float, seeds: int) -> Sample:
    """Returns a sample from a deviation over n, as NumPy's `std` computes it."""
    return Sample(mean, deviation * math.sqrt(seeds / (seeds - 1)), seeds)


def interquartile_mean(scores: Scores) -> np.ndarray:
    """Returns the mean of the middle half of all runs `[...]`; each run counts the same."""
    return stats.trim_mean(np.concatenate(scores, axis=-1), 0.25, axis=-1)


def probability_of_improvement(first: Scores, second: Scores) -> np.ndarray:
    """Returns P(a run of `first` is better than one of `second`) `[...]`, averaged over tasks.

    A tie counts half.

    Raises:
      ValueError: if they have different numbers of tasks.
    """
    shares = [
        (np.sign(ours[..., :, None] - theirs[..., None, :]).mean(axis=(-2, -1)) + 1) / 2
        for ours, theirs in zip(first, second, strict=True)
    ]
    return np.mean(shares, axis=0)


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Returns the share of runs above each threshold `[thresholds]`, averaged over tasks."""
    return np.mean([stats.ecdf(runs).sf.evaluate(thresholds) for runs in scores], axis=0)


def stratified_interval(statistic: Callable[..., np.ndarray], *methods: Scores) -> Interval:
    """Returns the percentile bootstrap of a statistic; redraws seeds within each task.

    It is the same at every call, and NaN if a task has a single seed.

    Args:
      statistic: of one argument for each of `methods`.
    """
    samples = [runs for scores in methods for runs in scores]
    if any(len(runs) < 2 for runs in samples):
        return Interval(math.nan, math.nan)
    tasks = [len(scores) for scores in methods]

    def by_method(*drawn: np.ndarray, axis: int) -> np.ndarray:
        del axis  # scipy puts the seeds last.
        left = iter(drawn)
        return statistic(*(list(itertools.islice(left, count)) for count in tasks))

    found = stats.bootstrap(
        samples,
        by_method,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=0,
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def compare(first: Sample, second: Sample) -> Comparison:
    """Compares two means by Welch's test: deviations and numbers of seeds may differ."""
    difference = first.mean - second.mean
    error, degrees = _standard_error(first, second)
    if not error > 0:
        return Comparison(difference, Interval(math.nan, math.nan), math.nan)
    p_value = float(stats.ttest_ind_from_stats(*first, *second, equal_var=False).pvalue)
    low, high = stats.t.interval(LEVEL, degrees, loc=difference, scale=error)
    return Comparison(difference, Interval(float(low), float(high)), p_value)


def closeness(first: Sample, second: Sample, margin: float) -> float:
    """Returns p of two one-sided tests (Schuirmann 1987) that means differ by less than `margin`.

    A test that finds no difference does not prove that two means are close. NaN if a deviation is
    unknown.
    """
    if not _standard_error(first, second)[0] > 0:
        return math.nan
    # The nearer end of the margin has the greater p, which decides.
    room = first._replace(mean=margin - abs(first.mean - second.mean))
    zero = second._replace(mean=0.0)
    test = stats.ttest_ind_from_stats(*room, *zero, equal_var=False, alternative="greater")
    return float(test.pvalue)


def power(first: Sample, second: Sample) -> float:
    """Returns P(Welch's test finds a difference) if these means and deviations are exact.

    Uses the noncentral t distribution; both samples have at least two seeds.
    """
    error, degrees = _standard_error(first, second)
    shift = abs(first.mean - second.mean) / error
    critical = stats.t.ppf((1 + LEVEL) / 2, degrees)
    # scipy's series returns NaN for a very small tail.
    tail = np.nan_to_num(stats.nct.cdf(-critical, degrees, shift))
    return float(stats.nct.sf(critical, degrees, shift) + tail)


def power_of_closeness(first: Sample, second: Sample, margin: float) -> float:
    """Returns a lower bound of P(both one-sided tests of `closeness` succeed).

    As `power`, with the tests never failing together.
    """
    error, degrees = _standard_error(first, second)
    difference = abs(first.mean - second.mean)
    critical = stats.t.ppf(LEVEL, degrees)
    shifts = np.array([margin - difference, margin + difference]) / error
    return float(stats.nct.sf(critical, degrees, shifts).sum() - 1)


def seeds_needed(
    first: Sample, second: Sample, power: Callable[[Sample, Sample], float] = power
) -> int | None:
    """Returns the seeds per method with which a test has the power `POWER`.

    None: more than `MOST_SEEDS`, or a deviation is unknown.

    Args:
      power: of the test, by default Welch's.
    """
    if not _standard_error(first, second)[0] > 0:
        return None

    def power_of(seeds: int) -> float:
        # NaN is no power.
        return np.nan_to_num(power(first._replace(seeds=seeds), second._replace(seeds=seeds)))

    counts = range(2, MOST_SEEDS + 1)
    found = bisect.bisect_left(counts, POWER, key=power_of)
    return counts[found] if found < len(counts) else None


def _standard_error(first: Sample, second: Sample) -> tuple[float, float]:
    """Returns the error of a difference of means and Welch's degrees of freedom, NaN if unknown."""
    if min(first.seeds, second.seeds) < 2:
        return math.nan, math.nan
    parts = [sample.deviation**2 / sample.seeds for sample in (first, second)]
    if not sum(parts) > 0:
        return math.nan, math.nan
    shares = [
        part**2 / (sample.seeds - 1) for part, sample in zip(parts, (first, second), strict=True)
    ]
    return math.sqrt(sum(parts)), sum(parts) ** 2 / sum(shares)
