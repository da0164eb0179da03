"""Builds a report of runs from its sections, as plain data."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from experiments.report import aggregates, claim_table, costs, figures, run_tables, tables
from experiments.report.document import Document, Figure, Section, Table, number
from experiments.report.groups import Group, group
from experiments.report.read import read_runs, read_table
from experiments.report.run_files import read_topology, readable
from experiments.run_dir.state import FILES

# Nobody looks through more panels; the tables show all methods.
MOST_PANELS = 60


def build(places: Sequence[Path]) -> Document:
    """Builds the report of all runs in some places. Raises UsageError if there are none."""
    runs, notes = read_runs(places)
    groups = group(runs)
    arms = aggregates.normalised(groups)
    over_tasks = aggregates.section(arms)
    if arms:
        profiles = Figure("Performance profiles", figures.draw_profiles(arms))
        over_tasks = over_tasks._replace(blocks=[*over_tasks.blocks, profiles])
    sections = [
        tables.results(groups),
        _curves(groups),
        claim_table.section(groups),
        tables.paper(groups),
        over_tasks,
        costs.section(groups),
        _topology(groups, notes),
        run_tables.times(groups, notes),
        run_tables.runs(groups),
    ]
    methods = _plural(len({run.method.label for run in runs}), "method")
    tasks = _plural(len({run.method.where for run in runs}), "environment")
    where = ", ".join(map(str, places))
    text = (
        f"{_plural(len(runs), 'run')} of {methods} on {tasks} in {where}, with the paper's numbers."
    )
    kept = [section for section in sections if section.blocks]
    return Document("Dynamic sparse training: results", text, notes, kept)


def build_of_run(directory: Path) -> Document:
    """Builds the report of one run directory. Raises UsageError if it is none."""
    runs, notes = read_runs([directory])
    groups = group(runs)
    progress = ", ".join(
        f"{each.method.label} on {each.method.where}: step "
        f"{number(min(run.reached for run in each.runs))} of {number(each.length)}"
        for each in groups
    )
    sections = [
        _curves(groups),
        tables.results(groups),
        _topology(groups, notes),
        run_tables.times(groups, notes),
        costs.section(groups),
        run_tables.runs(groups),
    ]
    kept = [section for section in sections if section.blocks]
    return Document(f"The run in {directory.name}", progress, notes, kept)


def is_over(directory: Path) -> bool:
    """Returns whether every member of a run was evaluated at its last step."""
    config = json.loads((directory / "config.json").read_text())
    rows = read_table(directory / FILES["evaluation"])
    ended = [row for row in rows if int(row["env_step"]) >= config["steps"]]
    return len(ended) >= len(config["seeds"])


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _curves(groups: Sequence[Group]) -> Section:
    text = (
        "Thin lines are seeds, the thick line is their mean and the band one deviation over seeds, "
        "as in the paper. Grey is the paper's mean and deviation, from its digitised figures. Up "
        f"to {figures.MOST_TOGETHER} methods also share a picture."
    )
    together = defaultdict(list)
    for each in groups:
        together[each.method.where, each.length].append(each)
    blocks, panels = [], 0
    for (where, length), own in together.items():
        panels += len(own) + 1
        if panels <= MOST_PANELS:
            caption = f"{where}, {length:,} steps"
            blocks.append(Figure(caption, figures.draw_curves(own)))
    if panels > MOST_PANELS:
        text += f" There is room for {MOST_PANELS} pictures; the last ones are left out."
    return Section("Learning curves", text, blocks)


def _topology(groups: Sequence[Group], notes: list[str]) -> Section:
    text = (
        "Churn is the share of connections that the previous evaluation did not have. A unit is "
        "dormant if all of its incoming weights are 0, or if it is silent on a whole batch. "
        "Collected runs have no topology."
    )
    found = []
    for each in groups:
        read = [(run, readable(read_topology, run, notes)) for run in each.runs]
        own = [(run, layers) for run, layers in read if layers]
        if own:
            found.append((each.method, own))
    blocks: list[Table | Figure] = []
    for place, (method, own) in enumerate(found):
        if place < MOST_PANELS // 4:
            caption = f"{method.label}, {method.where}"
            blocks.append(Figure(caption, figures.draw_topology(method, own)))
        blocks.append(run_tables.topology(method, own))
    return Section("Topology", text, blocks)
