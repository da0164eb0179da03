"""Makes tables with a row per run or layer: runs, topology and times."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.report.document import Section, Table, number
from experiments.report.groups import Group
from experiments.report.methods import Method
from experiments.report.read import Run
from experiments.report.run_files import LayerHistory, read_duration, readable

Topologies = Sequence[tuple[Run, Mapping[tuple[str, str], LayerHistory]]]


def runs(groups: Sequence[Group]) -> Section:
    """Returns every run of the report, with its directory and versions."""
    header = (
        "environment",
        "method",
        "seed",
        "steps",
        "final",
        "last 10",
        "LCA",
        "commit",
        "versions",
        "directory",
    )
    rows = []
    for group in groups:
        for run in group.runs:
            score = run.score(run.reached)
            rows.append(
                [
                    group.method.where,
                    group.method.label,
                    str(run.seed),
                    f"{run.reached:,} of {run.length:,}",
                    number(score.final, 1),
                    number(score.last10, 1),
                    number(score.learning_curve_area, 4),
                    str(run.config.get("commit", "–")),
                    _versions(run.config),
                    str(run.directory),
                ]
            )
    text = "All runs in the named folders, finished or not; copies count once."
    return Section("Runs", text, [Table("A line for each seed", header, rows, words=2)])


def _versions(config: Mapping[str, Any]) -> str:
    versions = config.get("versions", {})
    names = ("jax", "gymnasium", "mujoco", "envpool", "brax")
    return ", ".join(f"{name} {versions[name]}" for name in names if versions.get(name)) or "–"


def topology(method: Method, topologies: Topologies) -> Table:
    """Returns each layer of a method's seeds at the last evaluation."""
    rows = []
    for run, layers in topologies:
        for (network, layer), history in layers.items():
            degrees = history.degrees[-1] if history.degrees else np.array([])
            churn = history.churn[1:] if len(history.churn) > 1 else history.churn
            rows.append(
                [
                    f"{network} {layer}",
                    str(run.seed),
                    number(history.connections[-1]),
                    f"{churn.mean():.2%}",
                    f"{history.overlap[-1]:.2%}",
                    f"{number(history.dormant_units[-1])} of {number(history.units[-1])}",
                    f"{int((degrees == 0).sum())} of {len(degrees)}" if len(degrees) else "–",
                ]
            )
    header = (
        "layer",
        "seed",
        "connections",
        "mean churn",
        "of first mask",
        "dormant units",
        "inputs without connections",
    )
    title = f"{method.label}, {method.where}: layers at the last evaluation"
    return Table(title, header, rows)


def times(groups: Sequence[Group], notes: list[str]) -> Section:
    """Returns the times of all runs that measured them; adds a note for each damaged file."""
    header = (
        "environment",
        "method",
        "seed",
        "steps",
        "time",
        "steps/s",
        "training",
        "evaluations",
        "checkpoints",
        "machine",
    )
    text = (
        "From timings.csv, over all processes of a run, each until its last evaluation. Random "
        "steps and compilation are included; members of one directory share its time. Collected "
        "runs have no times."
    )
    found = [
        (group.method, run, readable(read_duration, run, notes))
        for group in groups
        for run in group.runs
    ]
    rows = []
    for method, run, duration in found:
        if duration is None or not duration.seconds:
            continue
        steps, total, evaluation, checkpoint = duration
        shares = [(total - evaluation - checkpoint) / total, evaluation / total, checkpoint / total]
        hours, minutes = divmod(round(total / 60), 60)
        time = f"{hours} h {minutes:02} min" if hours else f"{total / 60:.1f} min"
        numbers = [str(run.seed), f"{steps:,}", time, number(steps / total)]
        percents = [f"{share:.1%}" for share in shares]
        rows.append([method.where, method.label, *numbers, *percents, _machine(run.config)])
    blocks = [Table("Time per run", header, rows, words=2)] if rows else []
    return Section("Time", text, blocks)


def _machine(config: Mapping[str, Any]) -> str:
    threads = config.get("threads")
    processor = config.get("processor") or config.get("device")
    parts = [processor, f"threads: {threads}" if threads else ""]
    return ", ".join(str(part) for part in parts if part) or "–"
