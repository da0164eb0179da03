"""Costs, topology and time: tables of what runs are and took, beside their returns."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.report.document import Cell, Section, Table, number
from experiments.report.methods import Group, Method
from experiments.report.read import Run
from experiments.report.run_files import LayerHistory, read_duration, readable

Topologies = Sequence[tuple[Run, Mapping[tuple[str, str], LayerHistory]]]


def costs(groups: Sequence[Group]) -> Section:
    """Connections and FLOPs of each method by its settings, and the paper's for HalfCheetah."""
    from dsrl_jax.agents.costs import expected_cost
    from dsrl_jax.agents.types import Spaces

    rows = []
    for group in groups:
        run = group.runs[0]
        held, experiment = run.config, run.experiment
        spaces = Spaces(
            held["observation_size"], tuple(held["action_low"]), tuple(held["action_high"])
        )
        cost = expected_cost(spaces, experiment.agent, experiment.updates_at(group.length))
        rows.append(
            [
                group.method.where,
                group.method.label,
                number(cost.dense_weights),
                number(cost.connections),
                f"{cost.sparsity:.2%}",
                f"{group.length:,}",
                f"{cost.training_flops:.3e}",
                number(cost.ratio_to_dense, 4),
            ]
        )
    header = (
        "environment",
        "method",
        "weights",
        "connections",
        "sparsity",
        "steps",
        "training FLOPs",
        "of dense",
    )
    text = (
        "Of actor and both critics, by the settings: expected connections, without biases and "
        "targets; FLOPs of the updates that are made, none of them in the random steps of TD3 "
        "(Section 4.3; the paper counts one update a step)."
    )
    blocks = [Table("By method", header, rows, words=2), _papers_costs()]
    return Section("Costs", text, blocks)


def _papers_costs() -> Table:
    """Section 4.6, which needs no run."""
    from experiments.cli.cost_report import compare

    found = {row["algo"]: row for row in compare() if row["env"] == "HalfCheetah-v5"}
    dense, sparse = found["td3"], found["ds_td3"]
    lines = [
        ("weights of dense TD3", "214784", str(dense["weights"])),
        ("training FLOPs of dense TD3", "1.07e14", f"{dense['training_flops_paper']:.2e}"),
        ("sparsity of DS-TD3", "51 %", f"{sparse['sparsity'] * 100:.0f} %"),
        ("training FLOPs of DS-TD3, of dense", "0.49", f"{sparse['training_flops_of_dense']:.2f}"),
    ]
    rows: list[list[str | Cell]] = []
    for what, papers, ours in lines:
        same = papers.replace("e14", "e+14") == ours
        verdict = Cell("holds", "holds") if same else Cell("does not hold", "fails")
        rows.append([what, papers, ours, verdict])
    return Table("Section 4.6, HalfCheetah", ("", "paper", "ours", "verdict"), rows)


def topology(method: Method, topologies: Topologies) -> Table:
    """Each layer of a method's seeds at the last evaluation."""
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
    """How long runs took, where they were measured; notes what cannot be read."""
    rows = []
    for group in groups:
        for run in group.runs:
            found = readable(read_duration, run, notes)
            if found is None or not found.seconds:
                continue
            training = found.seconds - found.evaluation_seconds - found.checkpoint_seconds
            rows.append(
                [
                    group.method.where,
                    group.method.label,
                    str(run.seed),
                    f"{found.steps:,}",
                    _duration(found.seconds),
                    number(found.steps / found.seconds),
                    f"{training / found.seconds:.1%}",
                    f"{found.evaluation_seconds / found.seconds:.1%}",
                    f"{found.checkpoint_seconds / found.seconds:.1%}",
                    _machine(run),
                ]
            )
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
        "From timings.csv, over all processes of a run, up to each one's last evaluation; the "
        "random steps and compiling are in it, and members of one directory share its time. "
        "Collected runs tell no times."
    )
    blocks = [Table("Time per run", header, rows, words=2)] if rows else []
    return Section("Time", text, blocks)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{seconds / 60:.1f} min"


def _machine(run: Run) -> str:
    held = run.config
    threads = held.get("threads")
    parts = [held.get("processor") or held.get("device"), f"threads: {threads}" if threads else ""]
    return ", ".join(str(part) for part in parts if part) or "–"
