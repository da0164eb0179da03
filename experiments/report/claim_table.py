"""Makes a line for each claim of the paper and each length of our runs."""

import math
from collections.abc import Sequence

from experiments.paper.figures import STEPS
from experiments.report.claims import AREA, CLAIMS, Arm, Claim
from experiments.report.document import (
    Cell,
    Section,
    Table,
    missing,
    number,
    out_of,
    probability,
    spread,
)
from experiments.report.groups import Group
from experiments.report.methods import LABELS, Method
from experiments.report.statistics import LEVEL, POWER
from experiments.report.verdicts import (
    FAILS,
    HOLDS,
    MARGIN,
    OPEN,
    UNJUDGED,
    Finding,
    format_needed,
    judge,
    papers_own,
)

_KINDS = {HOLDS: "holds", FAILS: "fails", OPEN: "open", UNJUDGED: "open"}


def section(groups: Sequence[Group]) -> Section:
    """Returns all claims, also those without runs."""
    judged = [(claim, judge(claim, groups)) for claim in CLAIMS]
    full = [finding for _, found in judged for finding in found if finding.is_of_the_papers_length]
    counts = ", ".join(
        f"{verdict}: {sum(finding.verdict == verdict for finding in full)}" for verdict in _KINDS
    )
    waiting = sum(not any(f.is_of_the_papers_length for f in found) for _, found in judged)
    text = (
        f"Of {len(CLAIMS)} claims at {STEPS:,} steps: {counts}, not yet run: {waiting}. Higher "
        f"uses Welch's two-sided test at {1 - LEVEL:.0%}. Close uses two one-sided tests within "
        f"{MARGIN:.0%} of the second mean (the paper names no margin). Sooner redraws seeds: p is "
        "the share of draws in which the claim is false, and the step is the one at which the mean "
        "of all seeds passes. Each line is a separate test: chance would decide five of a hundred "
        "claims without any difference. Seeds still needed give a power of "
        f"{POWER:.0%} if the measured means and deviations are exact; few seeds estimate them "
        "badly. The paper's own p uses its printed means and deviations, taken as over n. Higher "
        "and close are also judged for shorter runs, at their own length, about which the paper "
        "says nothing; sooner is not."
    )
    rows = [row for claim, found in judged for row in _rows(claim, found)]
    header = (
        "claim",
        "verdict",
        "source",
        "paper's own p",
        "first (seeds)",
        "second (seeds)",
        "p",
        "seeds still needed",
    )
    return Section("The paper's claims", text, [Table("One by one", header, rows, words=3)])


def _rows(claim: Claim, found: Sequence[Finding]) -> list[list[str | Cell]]:
    """Returns a line for each finding, and one if the paper's length is missing."""
    papers = [claim.source, probability(papers_own(claim))]
    rows: list[list[str | Cell]] = []
    if not any(finding.is_of_the_papers_length for finding in found):
        rows.append([format_claim(claim), missing(), *papers, *["–"] * 4])
    for finding in sorted(found, key=lambda finding: -finding.reached):
        names = ["", "", ""] if rows else [format_claim(claim), *papers]
        verdict, *numbers = _finding_cells(claim, finding)
        rows.append([names[0], verdict, *names[1:], *numbers])
    return rows


def _finding_cells(claim: Claim, finding: Finding) -> list[str | Cell]:
    digits = 4 if claim.measure == AREA else 0
    first, second = (spread(*sample[:2], digits) for sample in (finding.first, finding.second))
    if claim.kind == "sooner":
        passed = finding.first.mean
        first = "never" if math.isnan(passed) else f"step {number(passed)}"
    # Unfinished seeds are counted, as they may have broken down.
    first_seeds, second_seeds = (
        out_of(sample.seeds, begun)
        for sample, begun in zip((finding.first, finding.second), finding.begun, strict=True)
    )
    # Names the length if it is not the paper's.
    length = "" if finding.is_of_the_papers_length else f" at {finding.reached:,}"
    length += "" if finding.reached == finding.length else f" of {finding.length:,}"
    return [
        Cell(f"{finding.where}{length}: {finding.verdict}", _KINDS[finding.verdict]),
        f"{first} ({first_seeds})",
        f"{second} ({second_seeds})",
        probability(finding.p_value),
        format_needed(claim, finding),
    ]


def format_claim(claim: Claim) -> str:
    """Returns a claim in words."""
    first, second = _name(claim, claim.first), _name(claim, claim.second)
    what = "learns faster (LCA)" if claim.measure == AREA else "ends higher"
    if claim.kind == "close":
        return f"{claim.task}: {first} ends close to {second}"
    if claim.kind == "sooner":
        return f"{claim.task}: {first} has {second}'s final return by half the steps"
    return f"{claim.task}: {first} {what} than {second}"


def _name(claim: Claim, arm: Arm) -> str:
    if not arm.changes:
        return LABELS[arm.algo]
    return Method(claim.task, arm.algo, "paper", "v5", "gymnasium", arm.changes).label
