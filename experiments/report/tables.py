"""Makes tables of returns: every method, and the paper's tables with our cells."""

from collections.abc import Iterable, Mapping, Sequence

from experiments.paper.figures import STEPS
from experiments.report import published
from experiments.report.claims import AREA, DYNAMIC, FIGURE_2A, FIGURE_2B, FINAL, Arm, started
from experiments.report.document import Cell, Section, Table, missing, number, out_of, spread
from experiments.report.groups import Group
from experiments.report.methods import LABELS, PAPER_TASKS
from experiments.report.paper_curves import PERIOD, read_curves
from experiments.run_dir.metrics import steps_to_reach

# The dense method of each sparse one.
DENSE = {"ds_td3": "td3", "static_td3": "td3", "ds_sac": "sac", "static_sac": "sac"}

# A curve of a figure: method, final return and LCA.
Numbers = tuple[Arm, float | None, float | None]


def results(groups: Sequence[Group]) -> Section:
    """Returns every method on every task, with the paper's curve at the same step."""
    rows = [_row(group, groups) for group in groups]
    header = (
        "environment",
        "method",
        "steps",
        "seeds",
        "final",
        "paper, same step",
        "last 10",
        "LCA",
        "paper, same steps",
        "steps to dense",
    )
    text = (
        "Mean ± deviation over seeds (of the sample, over n - 1). Final is the last evaluation, "
        "which the paper prints as its return; last 10 is the mean of the last ten evaluations. "
        "LCA, the learning curve area, is the sum of all evaluations divided by the number of "
        "steps; another period than 5,000 multiplies it by that period over 5,000. The paper's "
        "columns come from its digitised curves; the numbers of its tables follow below. Steps to "
        "dense is the first evaluation at which the mean passes the final mean of dense training "
        "of the same length, with the same preset if there is such a run, else with the paper's."
    )
    return Section("Results", text, [Table("Every method that was run", header, rows, words=2)])


def _row(group: Group, groups: Sequence[Group]) -> list[str | Cell]:
    method, seeds = group.method, [str(run.seed) for run in group.counted]
    reached = f"{group.reached:,}"
    curve = published.curve_of(method) if group.reached <= STEPS else None
    papers, area = "–", "–"
    if curve is not None:
        papers = spread(*curve.at(group.reached))
        if group.reached >= PERIOD:
            area = number(curve.area(group.reached), 4)
    return [
        method.where,
        method.label,
        reached if group.is_whole else f"{reached} of {group.length:,}",
        f"{out_of(len(seeds), len(group.runs))}: {', '.join(seeds)}",
        spread(*group.sample(FINAL)[:2]),
        papers,
        spread(*group.sample("last10")[:2]),
        spread(*group.sample(AREA)[:2], 4),
        area,
        _steps_to_dense(group, groups),
    ]


def _steps_to_dense(group: Group, groups: Sequence[Group]) -> str:
    method = group.method
    own = (method.where, group.length, group.reached, DENSE.get(method.algo))
    fitting = {
        dense.method.preset: dense
        for dense in groups
        if (dense.method.where, dense.length, dense.reached, dense.method.algo) == own
        and not dense.method.changes
    }
    dense = fitting.get(method.preset) or fitting.get("paper")
    if dense is None:
        return "–"
    steps, returns = group.curves()
    mean = returns.mean(axis=0).tolist()
    reached = steps_to_reach(steps.tolist(), mean, dense.sample(FINAL).mean)
    return "not reached" if reached is None else number(reached)


def paper(groups: Sequence[Group]) -> Section:
    """Returns Tables 1, 2, 4 and 5 and the numbers of Figures 2 and 3, with our cells."""
    blocks = [
        _table(groups, "1", "Return after 1,000,000 steps"),
        _table(groups, "2", "Learning curve area"),
        _figure(groups, "Figure 2a: adaptation schedules on HalfCheetah", FIGURE_2A),
        _figure(groups, "Figure 2b: sparsity levels on HalfCheetah", FIGURE_2B),
        _figure(groups, "Figure 3: from samples of a trained policy, HalfCheetah", _figure_3()),
        _table(groups, "4", "Learning curve area of SAC and DS-SAC, Appendix A"),
        _table(groups, "5", "Return of SAC and DS-SAC, Appendix A"),
    ]
    text = (
        "The paper's cells, over five seeds, and below them ours, from runs of 1,000,000 steps "
        "with the paper's settings; Results has shorter runs. Numbers of Figures 2 and 3 are read "
        "from the figures."
    )
    return Section("The paper's tables", text, blocks)


def _table(groups: Sequence[Group], table: str, title: str) -> Table:
    """Returns a table of the paper with our cells below its own."""
    if table in published.RETURNS:
        measure, digits, returns = FINAL, 2, published.RETURNS[table]
        cells = {task: [spread(*cell, 2) for cell in returns[task].values()] for task in returns}
        algos = list(returns[PAPER_TASKS[0]])
    else:
        measure, digits, areas = AREA, 4, published.AREAS[table]
        cells = {task: [f"{cell:.4f}" for cell in areas[task].values()] for task in areas}
        algos = list(areas[PAPER_TASKS[0]])
    rows: list[list[str | Cell]] = []
    for task in PAPER_TASKS:
        rows.append([f"{task}-v3", "paper", *cells[task]])
        # SAC has soft targets in Tables 1 and 2.
        soft = {"sac"} if table in ("1", "2") else set()
        arms = [Arm(algo, "figure1" if algo in soft else "paper") for algo in algos]
        fitting = [_of_the_papers_length(groups, task, arm) for arm in arms]
        for where in dict.fromkeys(group.method.where for found in fitting for group in found):
            own = [[group for group in found if group.method.where == where] for found in fitting]
            rows.append([where, "ours", *(_ours(found, measure, digits) for found in own)])
        if not any(fitting):
            rows.append(["", "ours", *(missing() for _ in algos)])
    header = ("environment", "", *(LABELS[algo] for algo in algos))
    return Table(f"Table {table}. {title}", header, rows, words=2)


def _figure_3() -> dict[str, Numbers]:
    """Returns final return and area of each curve of Figure 3, as digitised."""
    found: dict[str, Numbers] = {}
    for steps, figure in published.FIGURES_3.items():
        for algo in ("td3", "ds_td3"):
            curve = read_curves().get((figure, "HalfCheetah", algo))
            final = curve.at(STEPS)[0] if curve else None
            area = curve.area(STEPS) if curve else None
            found[f"{LABELS[algo]}, {steps:,} steps"] = (started(algo, steps), final, area)
    return found


def _figure(groups: Sequence[Group], title: str, curves: Mapping[str, Numbers]) -> Table:
    rows: list[list[str | Cell]] = []
    for label, (arm, final, area) in curves.items():
        found = _of_the_papers_length(groups, "HalfCheetah", arm)
        method = LABELS[arm.algo] if arm != DYNAMIC else "DS-TD3, the paper's settings"
        for where in dict.fromkeys(group.method.where for group in found) or [""]:
            own = [group for group in found if group.method.where == where]
            finals: list[str | Cell] = [number(final), _ours(own, FINAL, 0)]
            rows.append([label, method, where, *finals, number(area, 3), _ours(own, AREA, 3)])
    header = ("", "method", "ours on", "final, paper", "final, ours", "LCA, paper", "LCA, ours")
    return Table(title, header, rows, words=3)


def _of_the_papers_length(groups: Iterable[Group], task: str, arm: Arm) -> list[Group]:
    """Returns at most one group per version of the task; longer runs are other groups."""
    return [
        group
        for group in groups
        if (group.length, group.reached) == (STEPS, STEPS) and arm.is_of(group.method, task)
    ]


def _ours(groups: Sequence[Group], measure: str, digits: int) -> Cell:
    """Returns our cell, from the only group if there is one."""
    if not groups:
        return missing()
    (group,) = groups
    found = group.sample(measure)
    return Cell(f"{spread(*found[:2], digits)} ({out_of(found.seeds, len(group.runs))})")
