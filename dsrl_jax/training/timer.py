"""The seconds of a loop."""

import contextlib
import time
from collections.abc import Iterator

from dsrl_jax.training.rows import Row


class Timer:
    """Seconds since this process began to train, and what evaluations and checkpoints took."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.parts = {"evaluation_seconds": 0.0, "checkpoint_seconds": 0.0}

    @contextlib.contextmanager
    def measuring(self, part: str) -> Iterator[None]:
        """Adds the time that the block takes to a part."""
        start = time.perf_counter()
        yield
        self.parts[part] += time.perf_counter() - start

    def row(self, env_step: int) -> Row:
        """The row of `kind` "timing"."""
        seconds = time.perf_counter() - self.start
        return {"kind": "timing", "env_step": env_step, "seconds": seconds, **self.parts}
