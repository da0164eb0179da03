"""What `--list` prints: each figure's runs, what is done of them, and the time for the rest."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.paper.board import Rates, Seen, time_left
from experiments.paper.figures import FIGURES
from experiments.paper.found import OF_POLICY, Found
from experiments.paper.tasks import Located, Machine, make_tasks


class Count(NamedTuple):
    """Runs, those that are done, and of those that were begun how many steps are done."""

    runs: int
    done: int
    begun: int
    steps: int  # of all that were begun and not finished
    of_steps: int


def count(located: Sequence[Located]) -> Count:
    """Counts runs by what there is of them."""
    begun = [run for run in located if run.found and not run.is_done]
    return Count(
        len(located),
        sum(run.is_done for run in located),
        len(begun),
        sum(run.found.reached for run in begun if run.found),
        sum(run.wanted.experiment.loop.steps for run in begun),
    )


def list_figures(
    names: Sequence[str],
    located: Sequence[Located],
    found: Sequence[Found],
    machine: Machine,
    rates: Rates,
    jobs: int,
) -> str:
    """A block of lines for each figure: its curves, what there is of them, and the time left."""
    lines = [f"{'':<8} {'':<22} {'runs':>5} {'done':>5}   partly done"]
    for name in names:
        figure = FIGURES[name]
        own = [run for run in located if run.wanted.figure == name]
        lines += ["", f"{name:<8} {figure.title}"]
        if not figure.variants:
            lines.append(f"{'':<8} runs nothing: python -m experiments.paper {name} prints it")
            continue
        if not own:
            lines.append(f"{'':<8} none of its runs was chosen")
            continue
        for variant in figure.variants:
            if of_variant := [run for run in own if run.wanted.variant == variant]:
                lines.append(_line(variant.label, of_variant) + f"   {_where(of_variant)}")
        lines.append(_line("all", own))
        lines.append(f"{'':<8} {'time for the rest':<22} {_time(own, found, machine, rates, jobs)}")
    return "\n".join(lines)


def _line(label: str, located: Sequence[Located]) -> str:
    runs, done, begun, steps, of_steps = count(located)
    partly = f"{begun} ({steps:,} of {of_steps:,} steps)" if begun else "-"
    return f"{'':<8} {label:<22} {runs:>5} {done:>5}   {partly:<12}"


def _where(located: Sequence[Located]) -> str:
    """Tasks and seeds of one variant's runs."""
    tasks = ", ".join(dict.fromkeys(run.wanted.task for run in located))
    seeds = dict.fromkeys(run.wanted.experiment.seeds[0] for run in located)
    return f"{tasks}; seeds {','.join(map(str, seeds))}"


def _time(
    located: Sequence[Located],
    found: Sequence[Found],
    machine: Machine,
    rates: Rates,
    jobs: int,
) -> str:
    tasks = make_tasks(located, found, machine)
    if not tasks:
        return "none"
    seen = {task.directory: Seen(task.reached, None) for task in tasks}
    policies = sum(OF_POLICY in task.name for task in tasks)
    first = f", {policies} of them trained policies to start from" if policies else ""
    left = time_left(tasks, seen, rates, jobs)
    return f"{left}; {len(tasks)} to compute, {jobs} at once{first}"
