"""Reads the results of a sweep and ranks its settings by learning curve area (LCA)."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from experiments.run_dir.metrics import score
from experiments.run_dir.state import read_rows
from experiments.sweep.plan import Member

_RESAMPLES = 10_000

Curve = list[tuple[int, float]]


class Outcome(NamedTuple):
    """One member's results; NaN if it was frozen."""

    member: Member
    batch: int
    number: int  # within its batch
    frozen_at: int | None
    final: float
    last10: float
    learning_curve_area: float
    connections: int
    curve: Curve  # steps and mean returns


class Ranked(NamedTuple):
    """One setting's results over its seeds; means are over the seeds that were not frozen."""

    values: dict[str, Any]
    outcomes: list[Outcome]
    frozen: int
    lca: float
    low: float  # bounds of the mean's 95 % interval
    high: float
    final: float
    connections: float


def read_batch(directory: Path, number: int, batch: list[Member]) -> list[Outcome]:
    """Returns the results of each member of a finished batch."""
    evaluations, training = (
        _rows_by_member(directory / f"{n}.csv") for n in ("evaluations", "training")
    )
    found = []
    for place, member in enumerate(batch):
        rows = evaluations[place]
        curve = [(int(row["env_step"]), float(row["return_mean"])) for row in rows]
        steps, returns = zip(*curve, strict=True)
        scores = score(steps, returns, member.experiment.loop.eval_period)
        last = training[place][-1]
        frozen = rows[-1]["frozen_at"] or last["frozen_at"]
        found.append(
            Outcome(
                member,
                number,
                place,
                int(frozen) if frozen else None,
                *((math.nan,) * 3 if frozen else scores),
                int(last["actor_connections"]) + int(last["critics_connections"]),
                curve,
            )
        )
    return found


def _rows_by_member(path: Path) -> dict[int, list[dict[str, str]]]:
    found: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(path):
        found[int(row["member"])].append(row)
    return found


def rank(outcomes: list[Outcome]) -> list[Ranked]:
    """Ranks settings by mean LCA over seeds, highest first; those with frozen members are last."""
    settings: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        settings[repr(outcome.member.values)].append(outcome)
    ranked = [_summarize(own) for own in settings.values()]
    return sorted(
        ranked, key=lambda each: (each.frozen > 0, math.isnan(each.lca), -np.nan_to_num(each.lca))
    )


def _summarize(own: list[Outcome]) -> Ranked:
    whole = [each for each in own if each.frozen_at is None]
    areas = [each.learning_curve_area for each in whole]
    return Ranked(
        own[0].member.values,
        own,
        len(own) - len(whole),
        _mean(areas),
        *interval(areas),
        _mean([each.final for each in whole]),
        _mean([each.connections for each in own]),
    )


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values) if values else math.nan


def interval(values: list[float]) -> tuple[float, float]:
    """Returns the 95 % interval of the mean by the bootstrap over seeds (percentiles).

    NaN for fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    found = stats.bootstrap(
        (np.array(values),),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
