"""How far a sweep is: one bar on a terminal, a line for each evaluation elsewhere."""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from dsrl_jax.config.loop import LoopConfig


class SweepProgress:
    """Shows the rows of one batch after the other; counts the steps of all members.

    Args:
      batches: members and loop of each.
    """

    def __init__(self, batches: Sequence[tuple[int, LoopConfig]]):
        self.batches = batches
        self.total = sum(members * loop.steps for members, loop in batches)
        self.number = 0  # of the running batch, from 1
        self.before = 0  # steps of the batches that are done
        # Where the running interval began: steps done, the time, whether updates had begun.
        self.since: tuple[int, float, bool] | None = None
        # Steps and seconds of the intervals, by whether updates had begun before them.
        self.spent = {True: np.zeros(2), False: np.zeros(2)}
        self.has_whole_batch = False  # among these
        self.returns: list[float] = []
        self.bar: tqdm | None = None

    def begin(self) -> None:
        """The next batch runs, or is done already and shows nothing."""
        if self.number:
            members, loop = self.batches[self.number - 1]
            self.before += members * loop.steps
            self.has_whole_batch = self.since is not None
        self.number += 1

    def show(self, row: dict[str, Any]) -> None:
        """Takes in one row of a loop."""
        members, loop = self.batches[self.number - 1]
        if row["kind"] == "note":
            self._say(f"warning: batch {self.number}: {row['text']}")
        elif row["kind"] == "start":
            done = self.before + members * row["env_step"]
            if self.bar is None and sys.stderr.isatty():
                self.bar = tqdm(total=self.total, initial=done, unit="step", dynamic_ncols=True)
            learns = row["env_step"] >= loop.steps_before_updates
            self.since = done, time.perf_counter(), learns
            self._advance(row["env_step"])
        elif row["kind"] == "training" and self.bar is not None:
            self._advance(row["env_step"])
        elif row["kind"] == "evaluation":
            self.returns.append(row["return_mean"])
            if len(self.returns) == members:
                self._tell_evaluation(row["env_step"])
                self.returns = []

    def close(self) -> None:
        """Leaves the bar as it is and frees the line."""
        if self.bar is not None:
            self.bar.close()

    def _tell_evaluation(self, env_step: int) -> None:
        finite = [value for value in self.returns if math.isfinite(value)]
        facts = {"batch": f"{self.number} of {len(self.batches)}"}
        if finite:
            facts |= {"return": f"{sum(finite) / len(finite):.1f}", "best": f"{max(finite):.1f}"}
        if len(finite) < len(self.returns):
            facts["frozen"] = str(len(self.returns) - len(finite))
        if self.bar is not None:
            self.bar.set_postfix(facts, refresh=False)
            self._advance(env_step)
            return
        members, loop = self.batches[self.number - 1]
        done = self.before + members * env_step
        where = f"step {env_step:,} of {loop.steps:,}, {done / self.total:.0%} of the sweep"
        told = [
            f"batch {facts.pop('batch')}",
            where,
            *self._minutes(done, env_step >= loop.steps_before_updates),
        ]
        self._say(", ".join(told + [f"{name} {value}" for name, value in facts.items()]))

    def _minutes(self, done: int, learns: bool) -> list[str]:
        now = time.perf_counter()
        if self.since is not None:
            before, then, learned = self.since
            self.spent[learned] += done - before, now - then
        self.since = done, now, learns
        # Steps without updates are no measure of the rest, unless all batches are of one interval.
        steps, seconds = self.spent[True]
        if not steps and self.has_whole_batch:
            steps, seconds = self.spent[False]
        return [f"{(self.total - done) * seconds / steps / 60:.1f} minutes left"] if steps else []

    def _advance(self, env_step: int) -> None:
        if self.bar is not None:
            members, _ = self.batches[self.number - 1]
            self.bar.update(self.before + members * env_step - self.bar.n)

    def _say(self, line: str) -> None:
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
