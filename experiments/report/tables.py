"""Tables of returns: every method that was run, and the paper's tables with ours beside them."""

from collections.abc import Iterable, Sequence

from experiments.paper.figures import STEPS
from experiments.report import published
from experiments.report.claims import AREA, DYNAMIC, FIGURE_2A, FIGURE_2B, FINAL, Arm, started
from experiments.report.document import Cell, Section, Table, missing, number, out_of, spread
from experiments.report.methods import LABELS, PAPER_TASKS, Group
from experiments.report.paper_curves import PERIOD, read_curves
from experiments.run_dir.metrics import steps_to_reach

# The dense method that a sparse one is compared with.
DENSE = {"ds_td3": "td3", "static_td3": "td3", "ds_sac": "sac", "static_sac": "sac"}


def results(groups: Sequence[Group]) -> Section:
    """Every method on every task, with the paper's curve at the same step."""
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
        "which is what the paper prints as its return; last 10 is the mean of the last ten "
        "evaluations. LCA, the learning curve area, is the sum of all evaluations over the number "
        "of steps, for another period than 5,000 times that over 5,000. The paper's columns are of "
        "its digitised curves; its tables' own numbers follow below. Steps to dense: the first "
        "evaluation at which the mean passes the final mean of dense training of the same length, "
        "by the same preset where there is such, or else by the paper's."
    )
    return Section("Results", text, [Table("Every method that was run", header, rows, words=2)])


def _row(group: Group, groups: Sequence[Group]) -> list[str | Cell]:
    method, seeds = group.method, [str(run.seed) for run in group.counted]
    reached = f"{group.reached:,}"
    curve = published.curve_of(method) if group.reached <= STEPS else None
    beside, area = "–", "–"
    if curve is not None:
        beside = spread(*curve.at(group.reached))
        if group.reached >= PERIOD:
            area = number(curve.area(group.reached), 4)
    return [
        method.where,
        method.label,
        reached if group.is_whole else f"{reached} of {group.length:,}",
        f"{out_of(len(seeds), len(group.runs))}: {', '.join(seeds)}",
        spread(*group.sample(FINAL)[:2]),
        beside,
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
    """Tables 1, 2, 4 and 5, and the numbers of Figures 2 and 3, with our cells beside them."""
    blocks = [
        _returns(groups, "1", "Return after 1,000,000 steps"),
        _areas(groups, "2", "Learning curve area"),
        _figure(groups, "Figure 2a: adaptation schedules on HalfCheetah", FIGURE_2A),
        _figure(groups, "Figure 2b: sparsity levels on HalfCheetah", FIGURE_2B),
        _figure(groups, "Figure 3: from samples of a trained policy, HalfCheetah", _figure_3()),
        _areas(groups, "4", "Learning curve area of SAC and DS-SAC, Appendix A"),
        _returns(groups, "5", "Return of SAC and DS-SAC, Appendix A"),
    ]
    text = (
        "The paper's cells, over five seeds, and ours under them, by runs of 1,000,000 steps with "
        "the paper's settings; shorter runs are under Results. Numbers of Figures 2 and 3 are read "
        "from the figures."
    )
    return Section("The paper's tables", text, blocks)


def _returns(groups: Sequence[Group], table: str, title: str) -> Table:
    cells = {
        task: {algo: spread(*cell, 2) for algo, cell in row.items()}
        for task, row in published.RETURNS[table].items()
    }
    return _table(groups, table, title, cells, FINAL, 2)


def _areas(groups: Sequence[Group], table: str, title: str) -> Table:
    cells = {
        task: {algo: f"{cell:.4f}" for algo, cell in row.items()}
        for task, row in published.AREAS[table].items()
    }
    return _table(groups, table, title, cells, AREA, 4)


def _table(
    groups: Sequence[Group],
    table: str,
    title: str,
    cells: dict[str, dict[str, str]],
    measure: str,
    digits: int,
) -> Table:
    algos = list(cells[PAPER_TASKS[0]])
    rows: list[list[str | Cell]] = []
    for task in PAPER_TASKS:
        rows.append([f"{task}-v3", "paper", *cells[task].values()])
        # Table 1's SAC has soft targets.
        arms = [Arm(algo, "figure1" if (algo, table) in _SOFT else "paper") for algo in algos]
        fitting = [_of_the_papers_length(groups, task, arm) for arm in arms]
        for where in dict.fromkeys(group.method.where for found in fitting for group in found):
            own = [[group for group in found if group.method.where == where] for found in fitting]
            rows.append([where, "ours", *(_ours(found, measure, digits) for found in own)])
        if not any(fitting):
            rows.append(["", "ours", *(missing() for _ in algos)])
    header = ("environment", "", *(LABELS[algo] for algo in algos))
    return Table(f"Table {table}. {title}", header, rows, words=2)


_SOFT = {("sac", "1"), ("sac", "2")}


def _figure_3() -> dict[str, tuple[Arm, float | None, float | None]]:
    """What Figure 3 shows, by the digitised curves."""
    found: dict[str, tuple[Arm, float | None, float | None]] = {}
    for steps, figure in published.FIGURES_3.items():
        for algo in ("td3", "ds_td3"):
            curve = read_curves().get((figure, "HalfCheetah", algo))
            final = curve.at(STEPS)[0] if curve else None
            area = curve.area(STEPS) if curve else None
            found[f"{LABELS[algo]}, {steps:,} steps"] = (started(algo, steps), final, area)
    return found


def _figure(
    groups: Sequence[Group],
    title: str,
    curves: dict[str, tuple[Arm, float | None, float | None]] | dict[str, tuple[Arm, int, float]],
) -> Table:
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
    """At most one on each version of the task: longer runs are others, with the same seeds."""
    return [
        group
        for group in groups
        if (group.length, group.reached) == (STEPS, STEPS) and arm.is_of(group.method, task)
    ]


def _ours(groups: Sequence[Group], measure: str, digits: int) -> Cell:
    """Our cell, of the one group that there is, if any."""
    if not groups:
        return missing()
    (group,) = groups
    found = group.sample(measure)
    return Cell(f"{spread(*found[:2], digits)} ({out_of(found.seeds, len(group.runs))})")


def runs(groups: Sequence[Group]) -> Section:
    """Every run that the report is of, with where it is and by what it was made."""
    rows = [
        [
            group.method.where,
            group.method.label,
            str(run.seed),
            f"{run.reached:,} of {run.length:,}",
            number(run.score(run.reached).final, 1),
            number(run.score(run.reached).last10, 1),
            number(run.score(run.reached).learning_curve_area, 4),
            str(run.config.get("commit", "–")),
            _versions(run.config),
            str(run.directory),
        ]
        for group in groups
        for run in group.runs
    ]
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
    text = "Nothing is picked: all that the named folders hold, finished or not; copies count once."
    return Section("Runs", text, [Table("A line for each seed", header, rows, words=2)])


def _versions(config: dict) -> str:
    held = config.get("versions", {})
    names = ("jax", "gymnasium", "mujoco", "envpool", "brax")
    return ", ".join(f"{name} {held[name]}" for name in names if held.get(name)) or "–"
