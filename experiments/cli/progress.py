"""How far a run is: a bar on a terminal, a line for each evaluation elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm

from dsrl_jax.config.loop import LoopConfig


class Progress:
    """Shows rows as they come; counts all members' steps once, as they advance together."""

    def __init__(self, loop: LoopConfig, members: int, dense_weights: int):
        self.steps, self.members, self.dense_weights = loop.steps, members, dense_weights
        self.steps_before_updates = loop.steps_before_updates
        self.bar: tqdm | None = None
        self.shown: dict[str, str] = {}
        self.returns: list[float] = []
        self.connections: list[int] = []

    def show(self, row: dict[str, Any]) -> None:
        """Takes in one row of a loop."""
        kind = row["kind"]
        if kind == "start":
            self._start(row["env_step"])
        elif kind == "note":
            print(f"warning: {row['text']}", file=sys.stderr, flush=True)
        elif kind == "training":
            self.connections.append(row["actor_connections"] + row["critics_connections"])
            if len(self.connections) == self.members:
                density = sum(self.connections) / self.members / self.dense_weights
                self.shown["density"] = f"{density:.3f}"
                self.connections = []
                self._advance(row["env_step"])
        elif kind == "evaluation":
            self.returns.append(row["return_mean"])
            if len(self.returns) == self.members:
                self.shown["return"] = f"{sum(self.returns) / self.members:.1f}"
                self.returns = []
                self._advance(row["env_step"])
                self._tell(row["env_step"])

    def close(self) -> None:
        """Leaves the bar as it is and frees the line."""
        if self.bar is not None:
            self.bar.close()

    def _start(self, env_step: int) -> None:
        self.told = time.perf_counter(), env_step
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.steps, initial=env_step, unit="step", dynamic_ncols=True)

    def _advance(self, env_step: int) -> None:
        if self.bar is not None:
            self.bar.set_postfix(self._facts(), refresh=False)
            self.bar.update(env_step - self.bar.n)

    def _tell(self, env_step: int) -> None:
        if self.bar is not None:
            return
        # Since the last line: steps without updates, and what is compiled, are no measure of the
        # rest.
        (before, first), self.told = self.told, (time.perf_counter(), env_step)
        facts = [f"{name} {value}" for name, value in self._facts().items()]
        if done := env_step - first:
            seconds = self.told[0] - before
            minutes = (self.steps - env_step) * seconds / done / 60
            left = [f"{minutes:.1f} minutes left"] if first >= self.steps_before_updates else []
            facts = [f"{done / seconds:.0f} steps/s", *left, *facts]
        line = ", ".join([f"step {env_step:>9,} of {self.steps:,}", *facts])
        print(line, file=sys.stderr, flush=True)

    def _facts(self) -> dict[str, str]:
        # A run that continues has a density before its first return.
        return {name: self.shown[name] for name in ("return", "density") if name in self.shown}
