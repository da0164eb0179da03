"""What few runs tell: aggregates with intervals, comparisons, and how many seeds they take.

Aggregates are those of Agarwal et al. 2021 ("Deep Reinforcement Learning at the Edge of the
Statistical Precipice"); tests and distributions are scipy's. Scores of a method are one array a
task, an entry a seed; methods and tasks may have different numbers of seeds.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

# One array a task, an entry a seed.
Scores = Sequence[np.ndarray]

LEVEL = 0.95  # of intervals; tests are at 1 - LEVEL
POWER = 0.8  # with which a claim's test should find a difference as large as the measured one
RESAMPLES = 2_000
# A test that would take more seeds than this is called hopeless.
MOST_SEEDS = 1_000


class Interval(NamedTuple):
    """Both ends; NaN where there is none."""

    low: float
    high: float


class Sample(NamedTuple):
    """What is known of one method's seeds on one task."""

    mean: float
    deviation: float  # of the sample, over n - 1; NaN of one seed
    seeds: int


class Comparison(NamedTuple):
    """Welch's two-sided test of two means."""

    difference: float  # of the means, first less second
    interval: Interval  # of the difference
    p_value: float  # NaN where a deviation is not known


def describe(values: Sequence[float] | np.ndarray) -> Sample:
    """Mean and sample deviation of one value or more."""
    values = np.asarray(values, float)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Sample(float(values.mean()), deviation, len(values))


def from_population(mean: float, deviation: float, seeds: int) -> Sample:
    """A sample of which the deviation over n is known, which is what NumPy's `std` gives."""
    return Sample(mean, deviation * math.sqrt(seeds / (seeds - 1)), seeds)


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all runs, each as much as another whatever its task."""
    return float(stats.trim_mean(np.concatenate(scores), 0.25))


def probability_of_improvement(first: Scores, second: Scores) -> float:
    """P(a run of `first` is better than one of `second`), a tie half, averaged over the tasks.

    Raises:
      ValueError: if they are not of the same number of tasks.
    """
    shares = [
        np.mean((ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs))
        for ours, theirs in zip(first, second, strict=True)
    ]
    return float(np.mean(shares))


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """The share of runs above each threshold `[thresholds]`, averaged over the tasks."""
    return np.mean([(runs[:, None] > thresholds).mean(axis=0) for runs in scores], axis=0)


def stratified_interval(statistic: Callable[..., float], *methods: Scores) -> Interval:
    """Percentile bootstrap of a statistic of methods' scores; seeds are redrawn within each task.

    It is the same at every call. NaN where a task has a single seed, of which nothing can be drawn.
    """
    if any(len(runs) < 2 for scores in methods for runs in scores):
        return Interval(math.nan, math.nan)
    rng = np.random.default_rng(0)
    found = [
        statistic(*([rng.choice(runs, len(runs)) for runs in scores] for scores in methods))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def compare(first: Sample, second: Sample) -> Comparison:
    """Welch's test, which takes neither equal deviations nor equal numbers of seeds."""
    difference = first.mean - second.mean
    error, degrees = _standard_error(first, second)
    if not error > 0:
        return Comparison(difference, Interval(math.nan, math.nan), math.nan)
    p_value = float(stats.ttest_ind_from_stats(*first, *second, equal_var=False).pvalue)
    half = error * float(stats.t.ppf((1 + LEVEL) / 2, degrees))
    return Comparison(difference, Interval(difference - half, difference + half), p_value)


def closeness(first: Sample, second: Sample, margin: float) -> float:
    """p of two one-sided tests (Schuirmann 1987) that the means differ by less than `margin`.

    Not to find a difference is no proof that there is none: closeness has a test of its own.
    """
    error, degrees = _standard_error(first, second)
    if not error > 0:
        return math.nan
    difference = abs(first.mean - second.mean)
    # The nearer end decides: it has the greater p of the two.
    return float(stats.t.sf((margin - difference) / error, degrees))


def power(first: Sample, second: Sample) -> float:
    """P(Welch's test finds a difference), were means and deviations exactly these.

    From two seeds on; by the noncentral t distribution.
    """
    error, degrees = _standard_error(first, second)
    shift = abs(first.mean - second.mean) / error
    critical = stats.t.ppf((1 + LEVEL) / 2, degrees)
    # The other side's tail is NaN where it is too small for the series.
    tail = np.nan_to_num(stats.nct.cdf(-critical, degrees, shift))
    return float(stats.nct.sf(critical, degrees, shift) + tail)


def power_of_closeness(first: Sample, second: Sample, margin: float) -> float:
    """P(both one-sided tests of `closeness` find it), were means and deviations exactly these.

    At least: as if they never failed together. From two seeds on.
    """
    error, degrees = _standard_error(first, second)
    difference = abs(first.mean - second.mean)
    critical = stats.t.ppf(LEVEL, degrees)
    near, far = (
        float(stats.nct.sf(critical, degrees, (margin + side * difference) / error))
        for side in (-1, 1)
    )
    return near + far - 1


def seeds_needed(
    first: Sample, second: Sample, power: Callable[[Sample, Sample], float] = power
) -> int | None:
    """Seeds of each method with which a test, Welch's or that of `power`, has the power `POWER`.

    None: more than `MOST_SEEDS`, or a deviation is not known.
    """

    def is_enough(seeds: int) -> bool:
        return power(first._replace(seeds=seeds), second._replace(seeds=seeds)) >= POWER

    if not _standard_error(first, second)[0] > 0 or not is_enough(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # `low` is not enough, `high` is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _standard_error(first: Sample, second: Sample) -> tuple[float, float]:
    """Of the difference of two means, with Welch's degrees of freedom; NaN if not known."""
    parts = [sample.deviation**2 / sample.seeds for sample in (first, second)]
    total = sum(parts)
    if not total > 0 or min(first.seeds, second.seeds) < 2:
        return math.nan, math.nan
    shares = [
        part**2 / (sample.seeds - 1) for part, sample in zip(parts, (first, second), strict=True)
    ]
    return math.sqrt(total), total**2 / sum(shares)
