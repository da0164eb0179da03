"""Shows how far the runs are: `--list`, and one line of status while they run."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from experiments.paper.existing_runs import OF_POLICY, ExistingRun
from experiments.paper.figures import FIGURES
from experiments.paper.pool import Outcome
from experiments.paper.rates import Rates, read_progress, time_left
from experiments.paper.tasks import Machine, Match, Task, missing_tasks
from experiments.run_dir.directory import LOG


class StatusLine:
    """Prints one line of status when it changes, and a line for each run that has ended.

    A terminal keeps only the newest status.
    """

    def __init__(self, tasks: Sequence[Task], jobs: int, rates: Rates, output: TextIO):
        self.tasks, self.jobs, self.rates, self.output = tasks, jobs, dict(rates), output
        self.reached = {task.directory: task.reached for task in tasks}
        self.ended: set[Path] = set()
        self.line = ""

    def show(self, running: Collection[Path], outcomes: Mapping[Path, Outcome]) -> None:
        """Prints what is new; an argument of `pool.run_tasks`."""
        new = outcomes.keys() - self.ended
        for task in self.tasks:
            if task.directory in running or task.directory in new:
                self._look(task, outcomes.get(task.directory))
        ended = [
            format_end(task, outcomes[task.directory])
            for task in self.tasks
            if task.directory in new
        ]
        self.ended |= new
        line = self._summarize(len(running), outcomes)
        if line == self.line and not ended:
            return
        is_terminal = self.output.isatty()
        clear = "\x1b[F\x1b[J" if is_terminal and self.line else ""
        # A line that wraps could not be cleared.
        shown = line[: shutil.get_terminal_size().columns - 1] if is_terminal else line
        print(clear + "\n".join([*ended, shown]), file=self.output, flush=True)
        self.line = line

    def _look(self, task: Task, outcome: Outcome | None) -> None:
        step, rate = read_progress(task.directory, task.experiment.loop.steps_before_updates)
        is_done = outcome is Outcome.DONE
        self.reached[task.directory] = task.steps if is_done else max(step, task.reached)
        if rate:
            self.rates[task.kind] = rate

    def _summarize(self, running: int, outcomes: Mapping[Path, Outcome]) -> str:
        done = sum(outcome is Outcome.DONE for outcome in outcomes.values())
        steps = sum(task.steps for task in self.tasks)
        left = time_left(self.tasks, self.reached, self.rates, self.jobs)
        return (
            f"{done} of {len(self.tasks)} done, {running} running, "
            f"step {sum(self.reached.values()):,} of {steps:,}, time left: {left}"
        )


def format_end(task: Task, outcome: Outcome) -> str:
    """Returns a line for a run that has ended; names its log if that has a warning or an error."""
    log = task.directory / LOG
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:  # A line of status is no reason to stop the other runs.
        lines = []
    text = f"{task.title}: {outcome.value}"
    if outcome is Outcome.FAILED:
        text += f": {lines[-1] if lines else 'no output'}"
    warnings = sum(line.startswith("warning: ") for line in lines)
    text += f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    return text + (f" ({log})" if warnings or outcome is Outcome.FAILED else "")


def list_figures(
    names: Sequence[str],
    matches: Sequence[Match],
    existing: Sequence[ExistingRun],
    machine: Machine,
    rates: Rates,
    jobs: int,
) -> str:
    """Returns a block of lines for each figure: its curves, their runs, and the time left."""
    lines = [f"{'':<8} {'':<22} {'runs':>5} {'done':>5}   partly done"]
    for name in names:
        figure = FIGURES[name]
        own = [match for match in matches if match.required.figure == name]
        lines += ["", f"{name:<8} {figure.title}"]
        if not own:
            text = "none of its runs was chosen"
            if not figure.variants:
                text = f"runs nothing: python -m experiments.paper {name} prints it"
            lines.append(f"{'':<8} {text}")
            continue
        for variant in figure.variants:
            if of_variant := [match for match in own if match.required.variant == variant]:
                runs = [match.required for match in of_variant]
                tasks = ", ".join(dict.fromkeys(run.task for run in runs))
                seeds = ",".join(dict.fromkeys(str(run.experiment.seeds[0]) for run in runs))
                lines.append(f"{_counts(variant.label, of_variant)}   {tasks}; seeds {seeds}")
        lines.append(_counts("all", own))
        left = _describe_rest(missing_tasks(own, existing, machine), rates, jobs)
        lines.append(f"{'':<8} {'time for the rest':<22} {left}")
    return "\n".join(lines)


def _counts(label: str, matches: Sequence[Match]) -> str:
    """Returns a line with the runs, those that are done, and the steps of those that have begun."""
    done = sum(match.is_done for match in matches)
    begun = [match for match in matches if match.existing and not match.is_done]
    reached = sum(match.existing.reached for match in begun if match.existing)
    steps = sum(match.required.experiment.loop.steps for match in begun)
    partly = f"{len(begun)} ({reached:,} of {steps:,} steps)" if begun else "-"
    return f"{'':<8} {label:<22} {len(matches):>5} {done:>5}   {partly:<12}"


def _describe_rest(tasks: Sequence[Task], rates: Rates, jobs: int) -> str:
    if not tasks:
        return "none"
    left = time_left(tasks, {task.directory: task.reached for task in tasks}, rates, jobs)
    policies = sum(OF_POLICY in task.directory.name for task in tasks)
    first = f", {policies} of them trained policies to start from" if policies else ""
    return f"{left}; {len(tasks)} to compute, {jobs} at once{first}"
