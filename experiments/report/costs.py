"""Makes the section on costs: connections and FLOPs of each method, and the paper's numbers."""

from collections.abc import Sequence

from experiments.report.document import Cell, Section, Table, number
from experiments.report.groups import Group


def section(groups: Sequence[Group]) -> Section:
    """Returns the costs of each method by its settings, and Section 4.6's for HalfCheetah."""
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
        "For actor and both critics, by the settings: expected connections, without biases and "
        "targets, and FLOPs of all updates. TD3's random steps have no updates (Section 4.3; the "
        "paper counts one update per step)."
    )
    rows = [_row(group) for group in groups]
    blocks = [Table("By method", header, rows, words=2), _papers_costs()]
    return Section("Costs", text, blocks)


def _row(group: Group) -> list[str]:
    from dsrl_jax.agents.costs import expected_cost
    from dsrl_jax.agents.types import Spaces

    config, experiment = group.runs[0].config, group.runs[0].experiment
    bounds = tuple(config["action_low"]), tuple(config["action_high"])
    spaces = Spaces(config["observation_size"], *bounds)
    cost = expected_cost(spaces, experiment.agent, experiment.updates_at(group.length))
    return [
        group.method.where,
        group.method.label,
        number(cost.dense_weights),
        number(cost.connections),
        f"{cost.sparsity:.2%}",
        f"{group.length:,}",
        f"{cost.training_flops:.3e}",
        number(cost.ratio_to_dense, 4),
    ]


def _papers_costs() -> Table:
    """Returns the numbers of Section 4.6, which needs no run."""
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
