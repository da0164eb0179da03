"""Seconds from starting experiments.run to its first update, without and with cached programs."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from experiments.bench.measure import (
    MeasurementError,
    Report,
    in_turn,
    last_line,
    medians,
    ratio,
    spread,
    table,
)

ROOT = Path(__file__).parents[2]
# Would override the cache that each pair of starts gets.
CACHE_VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


def startup(
    repetitions: int,
    env: str,
    algo: str,
    random_steps: int,
    episodes: int,
    hidden_sizes: tuple[int, ...],
    device: str,
) -> Report:
    """Measures the seconds to the first update, first with an empty cache of programs, then again.

    Every pair of starts gets a new cache.
    """
    flags = {
        "env": env,
        "algo": algo,
        "device": device,
        "hidden_sizes": ",".join(map(str, hidden_sizes)),
        "eval_episodes": episodes,
        "start_steps": random_steps,
        "update_after": random_steps,
        "log_period": random_steps + 1,  # a row of training.csv reports the first update
        "steps": 100 * (random_steps + 1),
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    with tempfile.TemporaryDirectory() as directory:

        def start(name: str, numbers: Iterator[int]) -> float:
            number = next(numbers)
            place, cache = Path(directory, f"{number}_{name}"), Path(directory, str(number))
            return seconds_to_first_update(arguments, place, cache)

        starts = {name: partial(start, name, itertools.count(1)) for name in ("first", "second")}
        seconds = in_turn(starts, repetitions)
    samples = {f"{name}_start_seconds": found for name, found in seconds.items()}
    of_first = ratio(seconds["second"], seconds["first"])
    rows = [
        ["first start", *spread(seconds["first"]), "1"],
        ["second start", *spread(seconds["second"]), f"{of_first:.2f}"],
    ]
    head = [f"{algo}, {random_steps} random steps", "seconds", "lowest", "highest", "of first"]
    results = medians(samples) | {"second_over_first": of_first}
    return Report((table(head, rows),), results, samples)


def seconds_to_first_update(arguments: list[str], run_directory: Path, cache: Path) -> float:
    """Starts experiments.run, waits for its first update, and ends it.

    Raises:
      MeasurementError: if the run ends earlier.
    """
    command = [sys.executable, "-m", "experiments.run", *arguments, f"--run_dir={run_directory}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    for name in CACHE_VARIABLES:
        environment.pop(name, None)
    rows = run_directory / "training.csv"
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            while not (rows.exists() and rows.read_text().count("\n") > 1):
                if process.poll() is not None:
                    errors.seek(0)
                    reason = last_line(errors.read())
                    raise MeasurementError(f"experiments.run ended before an update: {reason}")
                time.sleep(0.01)
            return time.perf_counter() - start
        finally:
            process.terminate()
            process.wait()
