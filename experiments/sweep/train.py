"""Trains a sweep: batch after batch, each into its own run directory, with one progress display."""

import contextlib
import math
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import Experiment
from dsrl_jax.training import train as training
from experiments.cli import trainer
from experiments.cli.command import StopRequest
from experiments.cli.machine import conditions, keep_compiled_programs, keep_freed_memory
from experiments.run_dir.directory import check_directory
from experiments.run_dir.state import is_finished
from experiments.sweep import report
from experiments.sweep.directory import batch_directory, write_sweep
from experiments.sweep.plan import Plan, joined

Row = dict[str, Any]


def train(plan: Plan, values: flags.FlagValues, arguments: list[str]) -> int:
    """Trains all batches and prints the ranking; returns the exit status."""
    start = conditions(values.device, values.threads, values.deterministic, plan.spec.backend)
    start["command"] = shlex.join(arguments)
    keep_freed_memory()
    keep_compiled_programs()
    experiments = [joined(batch) for batch in plan.batches]
    progress = SweepProgress([(len(one.seeds), one.loop) for one in experiments])
    try:
        write_sweep(plan.directory, plan.spec, plan.sizes)
        with StopRequest() as request, contextlib.closing(progress):
            for number, experiment in enumerate(experiments, start=1):
                progress.begin()
                last = train_batch(plan, number, experiment, start, progress.show, request.is_made)
                if last and (last["kind"] == "stopped" or request.is_made()):
                    where = f"batch {number} of {len(experiments)}, step {last['env_step']:,}"
                    text = f"stopped in {where}, and saved; the same command continues"
                    print(text, file=sys.stderr)
                    return request.status
        table = report.report(plan.spec, plan.batches, plan.directory)
    except trainer.FAILURES as error:
        return trainer.report_failure(error, plan.directory)
    print(table)
    return 0


def train_batch(
    plan: Plan,
    number: int,
    experiment: Experiment,
    start: Row,
    show: Callable[[Row], None],
    stop: Callable[[], bool],
) -> Row | None:
    """Trains a batch, or continues it.

    Args:
      number: the batch's, from 1.
      experiment: the batch's members, joined.
      start: see `trainer.open_directory`.
    Returns:
      The last row of the training; None if the batch was finished before.
    Raises:
      trainer.FAILURES; DirectoryError if the directory has something else.
    """
    directory: Path = batch_directory(plan.directory, number)
    if is_finished(directory, experiment):
        return None
    check_directory(directory, experiment)
    directory.mkdir(exist_ok=True)
    start = start | {"devices": training.count_devices(experiment, None)}
    # Each member's own method: the joined experiment names the widest one.
    batch = plan.batches[number - 1]
    algos = [member.values.get("algo", experiment.algo) for member in batch]
    files = trainer.open_directory(directory, experiment, plan.spaces, start, {"algos": algos})
    rows = training.run(experiment, directory, tables=files.tables, stop=stop)
    return trainer.write_rows(files, rows, show)


class SweepProgress:
    """Shows the rows of one batch after the other, and counts the steps of all members.

    Shows a bar on a terminal, elsewhere a line for each evaluation.

    Args:
      batches: members and loop of each.
    """

    def __init__(self, batches: Sequence[tuple[int, LoopConfig]]):
        self.batches = batches
        self.total = sum(members * loop.steps for members, loop in batches)
        self.number = 0  # of the running batch, from 1
        self.before = 0  # steps of the batches that are done
        # The start of the running interval: steps done, time, whether updates had begun.
        self.since: tuple[int, float, bool] | None = None
        # Steps and seconds of all intervals, by whether updates had begun at their start.
        self.spent = {True: np.zeros(2), False: np.zeros(2)}
        self.has_whole_batch = False  # whether `spent` includes a whole batch
        self.returns: list[float] = []
        self.bar: tqdm | None = None

    def begin(self) -> None:
        """Begins the next batch. One that is finished already shows no rows."""
        if self.number:
            members, loop = self.batches[self.number - 1]
            self.before += members * loop.steps
            self.has_whole_batch = self.since is not None
        self.number += 1

    def show(self, row: Row) -> None:
        """Shows one row of a training loop."""
        members, loop = self.batches[self.number - 1]
        done = self.before + members * row["env_step"]
        if row["kind"] == "note":
            tqdm.write(f"warning: batch {self.number}: {row['text']}", file=sys.stderr)
        elif row["kind"] == "start":
            if self.bar is None:
                self.bar = tqdm(
                    total=self.total,
                    initial=done,
                    unit="step",
                    dynamic_ncols=True,
                    disable=None,  # unless stderr is a terminal
                )
            self.since = done, time.perf_counter(), row["env_step"] >= loop.steps_before_updates
            self.bar.update(done - self.bar.n)
        elif row["kind"] == "training" and self.bar is not None:
            self.bar.update(done - self.bar.n)
        elif row["kind"] == "evaluation":
            self.returns.append(row["return_mean"])
            if len(self.returns) == members:
                self._show_evaluation(row["env_step"], done)
                self.returns = []

    def close(self) -> None:
        """Closes the progress bar and leaves its last state visible."""
        if self.bar is not None:
            self.bar.close()

    def _show_evaluation(self, env_step: int, done: int) -> None:
        finite = [value for value in self.returns if math.isfinite(value)]
        facts = {"batch": f"{self.number} of {len(self.batches)}"}
        if finite:
            facts |= {"return": f"{sum(finite) / len(finite):.1f}", "best": f"{max(finite):.1f}"}
        if len(finite) < len(self.returns):
            facts["frozen"] = str(len(self.returns) - len(finite))
        if self.bar is not None and not self.bar.disable:
            self.bar.set_postfix(facts, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        _, loop = self.batches[self.number - 1]
        line = [
            f"batch {facts.pop('batch')}",
            f"step {env_step:,} of {loop.steps:,}, {done / self.total:.0%} of the sweep",
            *self._minutes_left(done, env_step >= loop.steps_before_updates),
            *(f"{name} {value}" for name, value in facts.items()),
        ]
        print(", ".join(line), file=sys.stderr, flush=True)

    def _minutes_left(self, done: int, learns: bool) -> list[str]:
        now = time.perf_counter()
        if self.since is not None:
            before, then, learned = self.since
            self.spent[learned] += done - before, now - then
        self.since = done, now, learns
        # Steps without updates do not predict the remaining time, unless batches have only one
        # interval.
        steps, seconds = self.spent[True]
        if not steps and self.has_whole_batch:
            steps, seconds = self.spent[False]
        return [f"{(self.total - done) * seconds / steps / 60:.1f} minutes left"] if steps else []
