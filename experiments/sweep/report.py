"""What came of a sweep: members and settings as CSV, a table ranked by LCA, a picture."""

import csv
import importlib.util
import io
import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from dsrl_jax.training.checkpoints.checksums import write_atomic
from experiments.cli.values import format_value
from experiments.run_dir.metrics import score
from experiments.run_dir.state import read_rows
from experiments.sweep.directory import batch_directory
from experiments.sweep.plan import Member, SweepSpec

# Of rows in a terminal; ranking.csv has all.
SHOWN = 40
_RESAMPLES = 10_000

Curve = list[tuple[int, float]]


class Outcome(NamedTuple):
    """One member's results; NaN where it was frozen."""

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
    """One setting's results over its seeds; means are of the seeds that were not frozen."""

    values: dict[str, Any]
    outcomes: list[Outcome]
    frozen: int
    lca: float
    low: float  # of the 95 % interval of the mean
    high: float
    final: float
    connections: float


def report(spec: SweepSpec, batches: list[list[Member]], directory: Path) -> str:
    """Writes members.csv, curves.csv, ranking.csv and sweep.png; returns the table."""
    found = [
        outcome
        for number, batch in enumerate(batches, start=1)
        for outcome in read_batch(batch_directory(directory, number), number, batch)
    ]
    ranking = rank(found)
    _write_table(directory / "members.csv", [_member_cells(spec, each) for each in found])
    _write_table(
        directory / "curves.csv",
        [
            {**_place(spec, each), "env_step": step, "return_mean": value}
            for each in found
            for step, value in each.curve
        ],
    )
    rows = [_rank_cells(spec, place, each) for place, each in enumerate(ranking, start=1)]
    _write_table(directory / "ranking.csv", rows)
    lines = _table(rows[:SHOWN])
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more in ranking.csv")
    lines.append(f"results in {directory}: ranking.csv, members.csv, curves.csv")
    if importlib.util.find_spec("matplotlib") is None:
        return "\n".join([*lines, "no picture without matplotlib: pip install -e '.[plots]'"])
    from experiments.sweep import plot as sweep_plot

    sweep_plot.draw(ranking, directory / "sweep.png")
    return "\n".join([*lines, "picture: sweep.png"])


def read_batch(directory: Path, number: int, batch: list[Member]) -> list[Outcome]:
    """The results of each member of a batch that is finished."""
    evaluations, training = (
        _by_member(directory / f"{n}.csv") for n in ("evaluations", "training")
    )
    found = []
    for place, member in enumerate(batch):
        rows = evaluations[place]
        curve = [(int(row["env_step"]), float(row["return_mean"])) for row in rows]
        steps, returns = zip(*curve, strict=True)
        scores = score(steps, returns, member.experiment.loop.eval_period)
        last = training[place][-1]
        connections = int(last["actor_connections"]) + int(last["critics_connections"])
        frozen = rows[-1]["frozen_at"] or last["frozen_at"]
        found.append(
            Outcome(
                member,
                number,
                place,
                int(frozen) if frozen else None,
                math.nan if frozen else scores.final,
                math.nan if frozen else scores.last10,
                math.nan if frozen else scores.learning_curve_area,
                connections,
                curve,
            )
        )
    return found


def rank(outcomes: list[Outcome]) -> list[Ranked]:
    """Settings by mean LCA over seeds, the highest first; those with frozen members come last."""
    settings: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        settings[repr(outcome.member.values)].append(outcome)
    ranked = [_summarize(own) for own in settings.values()]
    return sorted(ranked, key=lambda each: (each.frozen > 0, _descending(each.lca)))


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the mean by the bootstrap over seeds (percentiles); NaN for fewer than two."""
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


def _summarize(own: list[Outcome]) -> Ranked:
    whole = [each for each in own if each.frozen_at is None]
    areas = [each.learning_curve_area for each in whole]
    low, high = interval(areas)
    return Ranked(
        own[0].member.values,
        own,
        len(own) - len(whole),
        _mean(areas),
        low,
        high,
        _mean([each.final for each in whole]),
        _mean([each.connections for each in own]),
    )


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values) if values else math.nan


def _descending(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def _by_member(path: Path) -> dict[int, list[dict[str, str]]]:
    found: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(path):
        found[int(row["member"])].append(row)
    return found


def _named(spec: SweepSpec, values: dict[str, Any]) -> dict[str, str]:
    """Every axis, empty where a method does not heed it."""
    return {n: format_value(values[n]) if n in values else "" for n in spec.axes}


def _place(spec: SweepSpec, each: Outcome) -> dict[str, Any]:
    values = _named(spec, each.member.values)
    return {"batch": each.batch, "member": each.number, "seed": each.member.seed, **values}


def _member_cells(spec: SweepSpec, each: Outcome) -> dict[str, Any]:
    return {
        **_place(spec, each),
        "frozen_at": each.frozen_at,
        "final": each.final,
        "last10": each.last10,
        "lca": each.learning_curve_area,
        "connections": each.connections,
    }


def _rank_cells(spec: SweepSpec, place: int, each: Ranked) -> dict[str, Any]:
    return {
        "rank": place,
        **_named(spec, each.values),
        "seeds": len(each.outcomes),
        "frozen": each.frozen,
        "lca": each.lca,
        "lca_low": each.low,
        "lca_high": each.high,
        "final": each.final,
        "connections": each.connections,
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().rstrip("\n"))


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of cells, right-aligned under their names."""
    formats = {"final": ".1f", "connections": ",.0f", "lca": ".4f"}
    formats |= {"lca_low": ".4f", "lca_high": ".4f"}
    cells = [[format(row[name], formats.get(name, "")) for name in row] for row in rows]
    columns = list(zip(rows[0], *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True))
        for line in zip(*columns, strict=True)
    ]
