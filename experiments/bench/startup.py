"""Seconds from starting experiments.run to its first update, without and with what it kept."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.bench.measure import (
    MeasurementError,
    Report,
    Side,
    in_turn,
    last_line,
    medians,
    spread,
    table,
)

ROOT = Path(__file__).parents[2]
STARTS = ("first", "second")  # with an empty cache; with what the first one left
OVERRULING = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")  # of the default


def run(
    repetitions: int,
    env: str,
    algo: str,
    random_steps: int,
    episodes: int,
    hidden_sizes: tuple[int, ...],
    device: str,
) -> Report:
    """Measures first and second start in turn; each pair has a cache of its own."""
    flags = {
        "env": env,
        "algo": algo,
        "device": device,
        "hidden_sizes": ",".join(map(str, hidden_sizes)),
        "eval_episodes": episodes,
        "start_steps": random_steps,
        "update_after": random_steps,
        "log_period": random_steps + 1,  # a row of training.csv tells of the first update
        "steps": 100 * (random_steps + 1),
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    with tempfile.TemporaryDirectory() as directory:
        seconds = in_turn(start_sides(arguments, Path(directory)), repetitions)
    samples = {f"{name}_start_seconds": found for name, found in seconds.items()}
    results = medians(samples)
    results["second_over_first"] = results["second_start_seconds"] / results["first_start_seconds"]
    rows = [
        [f"{name} start", *spread(seconds[name]), cells]
        for name, cells in zip(STARTS, ("1", f"{results['second_over_first']:.2f}"), strict=True)
    ]
    head = [f"{algo}, {random_steps} random steps", "seconds", "lowest", "highest", "of first"]
    return Report((table(head, rows),), results, samples)


def start_sides(arguments: list[str], directory: Path) -> dict[str, Side]:
    """The two sides; the first one's every call begins an empty cache."""
    pairs = 0

    def start(which: str) -> float:
        cache = directory / f"cache_{pairs}"
        run_directory = directory / f"run_{pairs}_{which}"
        return seconds_to_first_update(arguments, run_directory, cache)

    def first() -> float:
        nonlocal pairs
        pairs += 1
        return start("first")

    return {"first": first, "second": lambda: start("second")}


def seconds_to_first_update(arguments: list[str], run_directory: Path, cache: Path) -> float:
    """Starts the command, waits for its first update, and ends it.

    Raises:
      MeasurementError: if it ends before.
    """
    command = [sys.executable, "-m", "experiments.run", *arguments, f"--run_dir={run_directory}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    for name in OVERRULING:
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
