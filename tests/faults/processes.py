"""Training processes, each in its directory, and the files that they leave."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parents[2]

# Relative, so that the same command runs in several places: it stands in config.json.
RUN = "run"
# A short run with several of everything.
SCHEDULE = [
    "--env=tests.toy_environments:PointMass-v0",
    "--seeds=0:2",
    "--batch_size=8",
    "--start_steps=20",
    "--steps=100",
    "--eval_period=25",
    "--eval_episodes=2",
    "--log_period=10",
    "--checkpoint_period=20",
]
TABLES = ("evaluations.csv", "training.csv", "topology.csv")
FINALS = "replay/finals.f32"  # Not of a run on the device, whose transitions are whole.
PROMISED = ("config.json", *TABLES, "replay/transitions.f32", FINALS)


class Ended(NamedTuple):
    """How a process ended, and in which phase."""

    status: int
    phase: str
    errors: str


def start(place, arguments, kill=None, *, is_traced=True, **variables):
    """Starts a training process with the run directory `place`/run.

    Args:
      kill: when it shall kill itself, see `traced.py`.
      is_traced: whether it writes its phase to `place`/phase; else it is the command itself.
      variables: of its environment.
    """
    place.mkdir(parents=True, exist_ok=True)
    (place / "phase").unlink(missing_ok=True)  # of the process before
    trace = ["tests.faults.traced", str(place / "phase"), *([kill] if kill else []), "--"]
    module = trace if is_traced else ["experiments.run"]
    command = [sys.executable, "-m", *module, *arguments, f"--run_dir={RUN}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | variables
    with (place / "errors").open("w") as errors:
        return subprocess.Popen(
            command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )


def phase_of(place):
    """Returns the last phase that a process there has recorded."""
    path = place / "phase"
    return path.read_text().strip() if path.exists() else ""


def ended(process, place):
    status = process.wait(timeout=600)
    return Ended(status, phase_of(place), (place / "errors").read_text())


def promised(directory):
    """Returns the files of a run directory that are the same after any kill."""
    is_whole = not (directory / FINALS).exists()
    return [name for name in PROMISED if not (is_whole and name == FINALS)]


def differing(place, other):
    """Returns the promised files that differ, and "checkpoint" if its arrays do."""
    return differing_runs(place / RUN, other / RUN)


def differing_runs(ours, theirs):
    """Returns what `differing` does, for two run directories."""
    found = [
        name
        for name in promised(theirs)
        if (ours / name).read_bytes() != (theirs / name).read_bytes()
    ]
    trees = [last_arrays(directory) for directory in (ours, theirs)]
    if not equal_bits(*trees):
        found.append("checkpoint")
    return found


def last_arrays(directory):
    """Returns every array of the last checkpoint, and its step."""
    steps = [int(path.name) for path in (directory / "checkpoints").iterdir() if path.is_dir()]
    place = directory.resolve() / "checkpoints" / str(max(steps))
    with ocp.PyTreeCheckpointer() as checkpointer, warnings.catch_warnings():
        # Orbax asks for a sharding.
        warnings.filterwarnings("ignore", "Sharding info not provided", UserWarning)
        parts = {part: checkpointer.restore(place / part) for part in ("state", "policies")}
    return parts | {"step": np.int64(max(steps))}


def equal_bits(tree, other):
    ours, theirs = jax.tree.leaves_with_path(tree), jax.tree.leaves_with_path(other)
    return len(ours) == len(theirs) >= 8 and all(
        place == other_place
        and np.asarray(leaf).dtype == np.asarray(other_leaf).dtype
        and np.asarray(leaf).tobytes() == np.asarray(other_leaf).tobytes()
        for (place, leaf), (other_place, other_leaf) in zip(ours, theirs, strict=True)
    )
