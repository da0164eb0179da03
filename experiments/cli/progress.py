"""Shows the progress of a run: a bar on a terminal, elsewhere a line for each evaluation."""

import sys
import time
from typing import Any

from tqdm import tqdm

from dsrl_jax.config.loop import LoopConfig


class Progress:
    """Shows rows as they come; counts each step once, because all members take it together."""

    def __init__(self, loop: LoopConfig, members: int, dense_weights: int):
        self.loop, self.members, self.dense_weights = loop, members, dense_weights
        self.shown: dict[str, str] = {}
        self.returns: list[float] = []
        self.connections: list[int] = []
        self.bar: tqdm | None = None

    def show(self, row: dict[str, Any]) -> None:
        """Shows one row of a training loop."""
        kind = row["kind"]
        if kind == "start":
            self.since = time.perf_counter(), row["env_step"]
            self.bar = tqdm(
                total=self.loop.steps,
                initial=row["env_step"],
                unit="step",
                dynamic_ncols=True,
                disable=None,  # unless stderr is a terminal
            )
        elif kind == "note":
            tqdm.write(f"warning: {row['text']}", file=sys.stderr)
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
                if self.bar is None or self.bar.disable:
                    print(self._line(row["env_step"]), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Closes the progress bar and leaves its last state visible."""
        if self.bar is not None:
            self.bar.close()

    def _facts(self) -> dict[str, str]:
        # A continued run has a density before its first return.
        return {name: self.shown[name] for name in ("return", "density") if name in self.shown}

    def _advance(self, env_step: int) -> None:
        if self.bar is not None and not self.bar.disable:
            self.bar.set_postfix(self._facts(), refresh=False)
            self.bar.update(env_step - self.bar.n)

    def _line(self, env_step: int) -> str:
        """Returns the line of an evaluation, with the speed since the line before."""
        (before, first), self.since = self.since, (time.perf_counter(), env_step)
        facts = [f"step {env_step:>9,} of {self.loop.steps:,}"]
        if done := env_step - first:
            seconds = self.since[0] - before
            facts.append(f"{done / seconds:.0f} steps/s")
            # Steps without updates, and compilation, do not predict the remaining time.
            if first >= self.loop.steps_before_updates:
                minutes = (self.loop.steps - env_step) * seconds / done / 60
                facts.append(f"{minutes:.1f} minutes left")
        return ", ".join(facts + [f"{name} {value}" for name, value in self._facts().items()])
