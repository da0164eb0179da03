"""A sweep's directory: sweep.json, what is swept and how it is split; a run directory a batch."""

import json
from pathlib import Path
from typing import Any

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.training.checkpoints.checksums import UNFINISHED, write_atomic
from experiments.run_dir.directory import MAY_CHANGE, DirectoryError
from experiments.sweep.plan import SweepSpec

NAME = "sweep.json"
# What a sweep that was killed before its first file leaves.
_OF_A_START = {"lock", NAME + UNFINISHED}


def batch_directory(directory: Path, number: int) -> Path:
    """Of a batch, counted from 1."""
    return directory / f"batch_{number}"


def check_sweep(directory: Path, spec: SweepSpec) -> list[list[int]] | None:
    """How the very sweep that the directory holds is split, or None where it is free.

    Raises:
      DirectoryError: if it holds another sweep or something else.
    """
    held = _read(directory)
    if held is None:
        return None
    there, here = _compared(held["question"]), _compared(spec.describe())
    differing = [
        f"{name} is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name) and name not in MAY_CHANGE
    ]
    if differing:
        raise DirectoryError(
            f"{directory} holds another sweep: {'; '.join(differing)}; "
            "choose another --run_dir or the same settings"
        )
    return held["batches"]


def write_sweep(directory: Path, spec: SweepSpec, batches: list[list[int]]) -> None:
    """Writes sweep.json, whole or not at all.

    Args:
      batches: of each group the sizes of its batches; they stay when the sweep is continued.
    """
    held = {"format": FORMAT, "question": spec.describe(), "batches": batches}
    write_atomic(directory / NAME, json.dumps(held, indent=1))


def _read(directory: Path) -> dict[str, Any] | None:
    path = directory / NAME
    try:
        if path.exists():
            held = json.loads(path.read_text())
            if held["format"] != FORMAT:
                raise DirectoryError(
                    f"{path} has format {held['format']}, this version reads format {FORMAT}; "
                    "choose another --run_dir"
                )
            _compared(held["question"])
            if not all(size >= 1 for sizes in held["batches"] for size in sizes):
                raise ValueError("a batch has no members")
            return held
        entries = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    except DirectoryError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DirectoryError(
            f"run_dir {str(directory)!r} cannot be read: {reason}; choose another --run_dir"
        ) from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise DirectoryError(f"{path} is damaged ({told}); choose another --run_dir") from error
    if entries - _OF_A_START:
        raise DirectoryError(f"{directory} is no sweep's directory and not empty; choose another")
    return None


def _compared(spec: dict[str, Any]) -> dict[str, Any]:
    """What is compared, flat."""
    return {name: value for name, value in spec.items() if name != "lists"} | {**spec["lists"]}
