"""A report of runs: all of its sections, as plain data."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from experiments.report import aggregates, claim_table, figures, run_tables, tables
from experiments.report.document import Document, Figure, Section, Table, number
from experiments.report.methods import Group, group
from experiments.report.read import Run, read_runs, read_table
from experiments.report.run_files import read_topology, readable
from experiments.run_dir.state import FILES

# More panels than these nobody looks through; tables hold all methods.
MOST_PANELS = 60


def build(places: Sequence[Path]) -> Document:
    """The report of all runs in some places. Raises UsageError if there are none."""
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
        run_tables.costs(groups),
        _topology(groups, notes),
        run_tables.times(groups, notes),
        tables.runs(groups),
    ]
    text = f"{_count(runs)} in {', '.join(map(str, places))}, beside the paper's own numbers."
    kept = [section for section in sections if section.blocks]
    return Document("Dynamic sparse training: results", text, notes, kept)


def build_of_run(directory: Path) -> Document:
    """The report of one run directory, for whoever watches it. Raises UsageError if it is none."""
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
        run_tables.costs(groups),
        tables.runs(groups),
    ]
    kept = [section for section in sections if section.blocks]
    return Document(f"The run in {directory.name}", progress, notes, kept)


def is_over(directory: Path) -> bool:
    """Whether every member of a run was evaluated at its last step."""
    config = json.loads((directory / "config.json").read_text())
    rows = read_table(directory / FILES["evaluation"])
    ended = [row for row in rows if int(row["env_step"]) >= config["steps"]]
    return len(ended) >= len(config["seeds"])


def _count(runs: Sequence[Run]) -> str:
    tasks = len({run.method.where for run in runs})
    methods = len({run.method.label for run in runs})
    return (
        f"{_plural(len(runs), 'run')} of {_plural(methods, 'method')} on "
        f"{_plural(tasks, 'environment')}"
    )


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _curves(groups: Sequence[Group]) -> Section:
    text = (
        "Thin lines are seeds, the thick one is their mean, the band one deviation over seeds, as "
        "in the paper; grey is the paper's mean and deviation, by its digitised figures. Up to "
        f"{figures.MOST_TOGETHER} methods are drawn together, too."
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
        text += f" There is room for {MOST_PANELS} pictures; those that come last are left out."
    return Section("Learning curves", text, blocks)


def _topology(groups: Sequence[Group], notes: list[str]) -> Section:
    text = (
        "Churn is the share of connections that the evaluation before lacked. A unit is dormant if "
        "no weight but 0 leads to it, or if it is silent on a whole batch. Collected runs tell "
        "none of this."
    )
    told = []
    for each in groups:
        read = [(run, readable(read_topology, run, notes)) for run in each.runs]
        own = [(run, layers) for run, layers in read if layers]
        if own:
            told.append((each.method, own))
    blocks: list[Table | Figure] = []
    for place, (method, own) in enumerate(told):
        if place < MOST_PANELS // 4:
            caption = f"{method.label}, {method.where}"
            blocks.append(Figure(caption, figures.draw_topology(method, own)))
        blocks.append(run_tables.topology(method, own))
    return Section("Topology", text, blocks)
