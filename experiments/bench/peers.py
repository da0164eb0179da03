"""Compares whole training loops with SBX's (sbx-rl), in another Python environment.

`python -m experiments.bench.peers ds_td3 WARM_UP STEPS` is our side, as `peers_sbx.py` is theirs.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.bench.measure import (
    Report,
    Side,
    ask,
    in_turn,
    medians,
    rates,
    ratio,
    spread,
    table,
)
from experiments.bench.peers_sbx import RANDOM_STEPS
from experiments.cli.machine import choose_device, keep_freed_memory
from experiments.cli.values import UsageError

HERE = Path(__file__).parent
HOW = (
    "python3 -m venv ~/sbx && ~/sbx/bin/pip install sbx-rl 'gymnasium[mujoco]>=1.0' 'mujoco<3.16', "
    "then --python=~/sbx/bin/python"
)
VERSIONS = """
from importlib import metadata
import gymnasium
import sbx
gymnasium.make("HalfCheetah-v5")
names = ("sbx-rl", "stable-baselines3", "jax", "flax", "gymnasium", "mujoco", "numpy")
print(", ".join(f"{name} {metadata.version(name)}" for name in names))
"""
# The peer of each algorithm makes as many updates of as many weights on batches as large.
PAIRS = {"ds_td3": "td3", "ds_sac": "sac"}


def peers(repetitions: int, python: str | None, warm_up: int, steps: int) -> Report:
    """Measures every loop in a separate process, in turn.

    Raises:
      UsageError: if no interpreter with SBX is named; says how to make one.
    """
    interpreter, versions = find_interpreter(python)
    size = [str(round_up(warm_up, steps)), str(steps)]
    sides: dict[str, Side] = {}
    for ours, theirs in PAIRS.items():
        sides[ours] = process_side([sys.executable, "-m", "experiments.bench.peers", ours, *size])
        # -I keeps this folder out of the import path.
        script = [interpreter, "-I", str(HERE / "peers_sbx.py")]
        sides[f"sbx_{theirs}"] = process_side([*script, theirs, *size])
    found = {name: rates(seconds, steps) for name, seconds in in_turn(sides, repetitions).items()}
    samples = {f"{name}_steps_per_second": values for name, values in found.items()}
    results: dict[str, Any] = {**medians(samples), "peer_versions": versions}
    rows = []
    for ours, theirs in PAIRS.items():
        of_peer = ratio(found[ours], found[f"sbx_{theirs}"])
        results[f"{ours}_over_sbx_{theirs}"] = of_peer
        rows.append([ours, *spread(found[ours]), f"{of_peer:.2f}"])
        rows.append([f"sbx_{theirs}", *spread(found[f"sbx_{theirs}"]), "1"])
    head = ["HalfCheetah-v5, whole loop", "steps/s", "lowest", "highest", "of SBX"]
    return Report((table(head, rows), f"SBX's environment: {versions}"), results, samples)


def round_up(warm_up: int, steps: int) -> int:
    """Raises the updates before those measured, so that ours end with a row of training."""
    return math.ceil((RANDOM_STEPS + warm_up) / steps) * steps - RANDOM_STEPS


def find_interpreter(python: str | None) -> tuple[str, str]:
    """Returns the interpreter and the versions of its libraries.

    Raises:
      UsageError: if it cannot run SBX; says how to make one that can.
    """
    if not python:
        raise UsageError(f"--python must name an interpreter that has sbx-rl; to make one: {HOW}")
    interpreter = os.path.expanduser(python)
    try:
        answer = subprocess.run([interpreter, "-I", "-c", VERSIONS], capture_output=True, text=True)
    except OSError as error:
        raise UsageError(f"--python={python} cannot be run: {error.strerror}") from error
    if answer.returncode:
        raise UsageError(f"--python={python} lacks sbx-rl or HalfCheetah-v5; to make one: {HOW}")
    return interpreter, answer.stdout.splitlines()[-1]


def process_side(command: list[str]) -> Side:
    """Returns a side that runs a process and reads the seconds from its last line of output."""

    def side() -> float:
        printed = ask(command, HERE.parents[1], JAX_PLATFORMS="cpu")
        return float(json.loads(printed.splitlines()[-1])["seconds"])

    return side


def train_ours(algo: str, warm_up: int, steps: int) -> None:
    """Trains, and prints the seconds of `steps` steps after `warm_up` updates."""
    choose_device("cpu", None)

    from experiments.bench.workload import ENV, loop_side

    keep_freed_memory()
    print(json.dumps({"seconds": loop_side(ENV, algo, steps, {}, warm_up)()}))


if __name__ == "__main__":
    train_ours(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
