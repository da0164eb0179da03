"""Judges the paper's claims by our runs: the test, its numbers, and seeds still needed."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.paper.figures import STEPS
from experiments.report import published
from experiments.report.claims import AREA, Claim
from experiments.report.groups import Group
from experiments.report.statistics import (
    LEVEL,
    MOST_SEEDS,
    RESAMPLES,
    Sample,
    closeness,
    compare,
    describe,
    power_of_closeness,
    seeds_needed,
)
from experiments.run_dir.metrics import steps_to_reach

HOLDS, FAILS, OPEN = "holds", "does not hold", "not yet enough seeds"
# The remaining seeds are those that went well.
UNJUDGED = "not judged, as seeds broke down"
# "Close": within this share of the second method's mean. The paper names no number.
MARGIN = 0.1
# Section 4.5: "after 40-50 % of the steps".
SHARE_OF_STEPS = 0.5


class Needed(NamedTuple):
    """Further seeds of each method."""

    first: int
    second: int


NONE_NEEDED = Needed(0, 0)

# Both samples, verdict, p and further seeds, as in `Finding`.
Judged = tuple[Sample, Sample, str, float, Needed | None]


class Finding(NamedTuple):
    """The verdict of one pair of groups on a claim."""

    where: str  # the environment
    length: int  # the steps that the runs are meant to have
    reached: int  # the step that the numbers describe
    first: Sample
    second: Sample
    begun: tuple[int, int]  # seeds of each, unfinished ones included
    verdict: str
    p_value: float  # for sooner: the share of draws in which the claim is false
    needed: Needed | None  # None: unknown

    @property
    def is_of_the_papers_length(self) -> bool:
        """Whether the runs have the steps that the paper's claim is about."""
        return (self.length, self.reached) == (STEPS, STEPS)


def judge(claim: Claim, groups: Sequence[Group]) -> list[Finding]:
    """Returns a finding for each environment and length with runs of both methods."""
    found = []
    for first in groups:
        if not claim.first.is_of(first.method, claim.task):
            continue
        for second in groups:
            same = (first.method.where, first.length) == (second.method.where, second.length)
            if same and claim.second.is_of(second.method, claim.task):
                found.append(_judge_pair(claim, first, second))
    if claim.kind == "sooner":  # Half of fewer steps is another claim.
        return [finding for finding in found if finding.is_of_the_papers_length]
    return found


def papers_own(claim: Claim) -> float:
    """Returns p of the same test by the paper's means and deviations; NaN if it prints none."""
    table = "5" if claim.first.algo == "ds_sac" else "1"
    cells = published.RETURNS[table][claim.task]
    printed = not claim.first.changes and not claim.second.changes
    if claim.measure == AREA or not printed or claim.kind == "sooner":
        return math.nan
    if claim.first.algo not in cells or claim.second.algo not in cells:
        return math.nan
    first, second = (
        published.returns_of(table, claim.task, arm.algo) for arm in (claim.first, claim.second)
    )
    if claim.kind == "close":
        return closeness(first, second, MARGIN * abs(second.mean))
    return compare(first, second).p_value


def _judge_pair(claim: Claim, first: Group, second: Group) -> Finding:
    step = min(first.reached, second.reached)
    judge_counted = _judge_sooner if claim.kind == "sooner" else partial(_judge_samples, claim)
    ours, theirs, verdict, p_value, needed = judge_counted(first, second, step)
    if first.broken or second.broken:
        verdict, needed = UNJUDGED, None
    begun = (len(first.runs), len(second.runs))
    where = first.method.where
    return Finding(where, first.length, step, ours, theirs, begun, verdict, p_value, needed)


def _judge_samples(claim: Claim, first: Group, second: Group, step: int) -> Judged:
    ours, theirs = (
        describe([getattr(run.score(step), claim.measure) for run in group.counted])
        for group in (first, second)
    )
    judged = (_judge_close if claim.kind == "close" else _judge_higher)(ours, theirs)
    return ours, theirs, *judged


def _judge_higher(first: Sample, second: Sample) -> tuple[str, float, Needed | None]:
    """Decides by Welch's two-sided test; open if it finds no difference."""
    test = compare(first, second)
    if test.p_value < 1 - LEVEL:
        return (HOLDS if test.difference > 0 else FAILS), test.p_value, NONE_NEEDED
    return OPEN, test.p_value, _further(seeds_needed(first, second), first, second)


def _further(required: int | None, first: Sample, second: Sample) -> Needed | None:
    """Returns the seeds that are missing to `required` of each method."""
    if required is None:
        return None
    needed = Needed(max(required - first.seeds, 0), max(required - second.seeds, 0))
    # The test may have missed a difference that so many seeds usually find: then one more.
    return needed if any(needed) else Needed(1, 1)


def _judge_close(first: Sample, second: Sample) -> tuple[str, float, Needed | None]:
    """Decides by two one-sided tests; fails if the whole interval is outside the margin."""
    margin = MARGIN * abs(second.mean)
    p_value = closeness(first, second, margin)
    interval = compare(first, second).interval
    if p_value < 1 - LEVEL:
        return HOLDS, p_value, NONE_NEEDED
    if interval.low > margin or interval.high < -margin:
        return FAILS, p_value, NONE_NEEDED
    past = abs(first.mean - second.mean) - margin
    if past < 0:
        required = seeds_needed(first, second, partial(power_of_closeness, margin=margin))
    else:  # The difference may turn out to be beyond the margin.
        required = seeds_needed(first._replace(mean=past), second._replace(mean=0.0))
    return OPEN, p_value, _further(required, first, second)


def _judge_sooner(first: Group, second: Group, step: int) -> Judged:
    """Decides by a bootstrap over seeds: how often the mean passes dense training's too late.

    The first sample's mean is the step at which the mean of all seeds passes it; NaN: never.
    """
    steps, returns = first.curves()
    dense = second.values("final")
    in_time = SHARE_OF_STEPS * step
    rng = np.random.default_rng(0)

    def passes(ours: np.ndarray, theirs: np.ndarray) -> int | None:
        return steps_to_reach(steps.tolist(), ours.mean(axis=0).tolist(), float(theirs.mean()))

    passed = passes(returns, dense)
    ours = Sample(math.nan if passed is None else passed, math.nan, len(returns))
    if min(len(returns), len(dense)) < 2:
        return ours, describe(dense), OPEN, math.nan, None
    late = 0
    for _ in range(RESAMPLES):
        drawn = returns[rng.integers(len(returns), size=len(returns))]
        found = passes(drawn, rng.choice(dense, len(dense)))
        late += found is None or found > in_time
    share = late / RESAMPLES
    verdict = HOLDS if share < 1 - LEVEL else FAILS if share > LEVEL else OPEN
    return ours, describe(dense), verdict, share, None if verdict == OPEN else NONE_NEEDED


def format_needed(claim: Claim, finding: Finding) -> str:
    """Returns in words how many further seeds of each method a claim needs."""
    if finding.verdict == UNJUDGED:
        return "–"
    if finding.needed is not None:
        first, second = finding.needed
        if first == second:
            return f"{first} of each" if first else "none"
        return f"{first} of the first, {second} of the second"
    if min(finding.first.seeds, finding.second.seeds) < 2:
        return "unknown from one seed"
    if claim.kind == "sooner" or math.isnan(finding.p_value):
        return "unknown"
    return f"over {MOST_SEEDS:,} of each"
