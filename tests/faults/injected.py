"""Faults of a run directory, by name: what is done to it, and the outcome that is expected.

The directory is of a run of 100 steps that was killed at step 80, with checkpoints of steps 20, 40
and 60, evaluations at 0, 25, 50 and 75, and rows of training.csv every 10.
"""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable
from typing import NamedTuple

from experiments.cli.machine import library_versions

EQUAL = "ends as a run that nothing stopped, byte for byte"
GOES_ON = "continues, and starts.jsonl records the versions"
INTACT = "every file is left as it is"

DAMAGED = r"warning: checkpoint 60 cannot be used, .*; it is removed; continues from checkpoint 40"


class Fault(NamedTuple):
    """A fault of a directory, and what the same command then prints and does."""

    inject: Callable  # (run directory) -> None, or a context to run the command in
    status: int
    says: str  # a pattern that a line of stderr matches; "" if nothing is printed
    outcome: str


def largest(directory):
    """Returns the largest file below a directory."""
    return max((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path, place):
    """Changes one byte, at a share of the file's length."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


def shorten(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def at_step(step):
    """Returns where a step begins in the replay: two members, two observations and one action."""
    return step * 2 * 4 * (2 + 1 + 3)


def cut_replay(run, step):
    path = run / "replay/transitions.f32"
    path.write_bytes(path.read_bytes()[: at_step(step)])


def flip_replay(run, step):
    path = run / "replay/transitions.f32"
    flip(path, at_step(step) / (path.stat().st_size - 1))


def keep_rows(path, count):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: count + 1]))


def edit_config(run, **changes):
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=1) + "\n")


def flip_all_arrays(run):
    for step in (20, 40, 60):
        flip(largest(run / "checkpoints" / str(step) / "state" / "d"), 0.5)


@contextlib.contextmanager
def locked_by_another(run):
    """Locks it as another process would: a file that is opened twice has two locks."""
    with (run / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4321\n")
        file.flush()
        yield


def last(run, *parts):
    return run.joinpath("checkpoints", "60", *parts)


FAULTS = {
    "nothing but the end": Fault(lambda run: None, 0, "", EQUAL),
    "last checkpoint: a byte of its arrays changed": Fault(
        lambda run: flip(largest(last(run, "state", "d")), 0.5), 0, DAMAGED, EQUAL
    ),
    "last checkpoint: a byte of what describes them changed": Fault(
        lambda run: flip(last(run, "state", "_METADATA"), 0.5), 0, DAMAGED, EQUAL
    ),
    "last checkpoint: its arrays cut short": Fault(
        lambda run: shorten(largest(last(run, "state", "d")), 0.5), 0, DAMAGED, EQUAL
    ),
    "last checkpoint: a number of its record changed": Fault(
        lambda run: last(run, "record.json").write_text(
            last(run, "record.json").read_text().replace('"logged": 60', '"logged": 61')
        ),
        0,
        DAMAGED,
        EQUAL,
    ),
    "last checkpoint: its record cut short": Fault(
        lambda run: shorten(last(run, "record.json"), 0.5), 0, DAMAGED, EQUAL
    ),
    "last checkpoint: its record is not there yet": Fault(
        lambda run: last(run, "record.json").unlink(), 0, DAMAGED, EQUAL
    ),
    "last checkpoint: its arrays are gone": Fault(
        lambda run: shutil.rmtree(last(run, "state")), 0, DAMAGED, EQUAL
    ),
    "every checkpoint: a byte changed": Fault(
        flip_all_arrays, 1, r"error: no checkpoint can be used: .*choose another --run_dir", INTACT
    ),
    "replay: cut short behind the checkpoint before": Fault(
        lambda run: cut_replay(run, 50), 0, DAMAGED, EQUAL
    ),
    "replay: a byte behind the checkpoint before changed": Fault(
        lambda run: flip_replay(run, 50), 0, DAMAGED, EQUAL
    ),
    "replay: its first byte changed": Fault(
        lambda run: flip(run / "replay/transitions.f32", 0),
        1,
        "transitions.f32 was changed",
        INTACT,
    ),
    "replay: the last observations of episodes cut short": Fault(
        lambda run: shorten(run / "replay/finals.f32", 0.1), 1, "finals.f32 holds", INTACT
    ),
    "evaluations.csv: the rows of step 50 are gone": Fault(
        lambda run: keep_rows(run / "evaluations.csv", 4), 0, DAMAGED, EQUAL
    ),
    "training.csv: its first byte changed": Fault(
        lambda run: flip(run / "training.csv", 0), 1, "training.csv was changed", INTACT
    ),
    "topology.csv: a last line cut short": Fault(
        lambda run: shorten(run / "topology.csv", 0.99), 0, "", EQUAL
    ),
    "timings.csv: changed throughout": Fault(
        lambda run: (run / "timings.csv").write_bytes(b"\xff,x\n\x00\n"), 0, "", EQUAL
    ),
    "config.json: cut short": Fault(
        lambda run: shorten(run / "config.json", 0.5), 2, "config.json is damaged", INTACT
    ),
    "config.json: another tau": Fault(
        lambda run: edit_config(run, tau=0.25), 2, "tau is 0.25 there and 0.005 here", INTACT
    ),
    "config.json: a later format": Fault(
        lambda run: edit_config(run, format=99), 2, "has format 99, .* reads format 1", INTACT
    ),
    "config.json: other versions": Fault(
        lambda run: edit_config(run, versions=library_versions() | {"jax": "0.1"}),
        0,
        r"warning: no exact resume, jax was 0\.1 and is",
        GOES_ON,
    ),
    "another process holds the directory": Fault(
        locked_by_another, 2, "is in use by process 4321", INTACT
    ),
}


@contextlib.contextmanager
def injected(fault, run):
    """Injects a fault, for as long as it lasts."""
    context = fault.inject(run)
    with context if hasattr(context, "__enter__") else contextlib.nullcontext():
        yield


def contents(run):
    """Returns the bytes of all files but the lock, by name."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}
