"""Whole training loops against SBX's (sbx-rl), which has an environment of its own."""

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
# Ours, and the peer's that does as many updates of as many weights on as large batches.
PAIRS = {"ds_td3": "td3", "ds_sac": "sac"}


def run(repetitions: int, python: str | None, warm_up: int, steps: int) -> Report:
    """Measures every loop in a process of its own, in turn.

    Raises:
      UsageError: if there is no interpreter that has SBX; says how to make one.
    """
    interpreter, versions = find_interpreter(python)
    size = [str(round_up(warm_up, steps)), str(steps)]
    sides: dict[str, Side] = {}
    for ours, theirs in PAIRS.items():
        ours_command = [sys.executable, "-m", "experiments.bench.peers_ours", ours, *size]
        # -I: the script's folder is none to import from.
        script = str(HERE / "peers_sbx.py")
        sides[ours] = process_side(ours_command)
        sides[f"sbx_{theirs}"] = process_side([interpreter, "-I", script, theirs, *size])
    seconds = in_turn(sides, repetitions)
    found = {name: rates(taken, steps) for name, taken in seconds.items()}
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
    """Updates before those measured, so many more that ours ends them with a row of training."""
    return math.ceil((RANDOM_STEPS + warm_up) / steps) * steps - RANDOM_STEPS


def find_interpreter(python: str | None) -> tuple[str, str]:
    """The interpreter, and the versions of what it computes with, once it has all that it needs.

    Raises:
      UsageError: how to make one.
    """
    if not python:
        raise UsageError(f"--python must name an interpreter that has sbx-rl; to make one: {HOW}")
    interpreter = os.path.expanduser(python)
    try:
        answer = subprocess.run([interpreter, "-I", "-c", VERSIONS], capture_output=True, text=True)
    except OSError as error:
        raise UsageError(f"--python={python} cannot be run: {error.strerror}") from error
    if answer.returncode:
        raise UsageError(f"--python={python} lacks sbx-rl or HalfCheetah-v5; make one: {HOW}")
    return interpreter, answer.stdout.splitlines()[-1]


def process_side(command: list[str]) -> Side:
    """A side that asks a process; it warms up by itself and tells its seconds on its last line."""

    def side() -> float:
        printed = ask(command, HERE.parents[1], JAX_PLATFORMS="cpu")
        return float(json.loads(printed.splitlines()[-1])["seconds"])

    return side
