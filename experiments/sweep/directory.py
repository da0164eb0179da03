"""A sweep's directory: sweep.json, and a run directory for each batch."""

import json
from pathlib import Path
from typing import Any

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.training.checkpoints.checksums import UNFINISHED, write_atomic
from experiments.run_dir.directory import MAY_CHANGE, DirectoryError
from experiments.sweep.plan import SweepSpec

NAME = "sweep.json"
# The files that a sweep leaves if it is killed before it writes sweep.json.
_OF_A_START = {"lock", NAME + UNFINISHED}


def batch_directory(directory: Path, number: int) -> Path:
    """Returns the run directory of a batch, counted from 1."""
    return directory / f"batch_{number}"


def check_sweep(directory: Path, spec: SweepSpec) -> list[list[int]] | None:
    """Returns the batch sizes of each group of this sweep; None if the directory is free.

    Raises:
      DirectoryError: if the directory contains another sweep or other files.
    """
    previous = _read(directory)
    if previous is None:
        return None
    there, here = _flatten(previous["question"]), _flatten(spec.describe())
    differing = [
        f"{name} is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name) and name not in MAY_CHANGE
    ]
    if differing:
        raise DirectoryError(
            f"{directory} contains another sweep: {'; '.join(differing)}; "
            "choose another --run_dir or the same settings"
        )
    return previous["batches"]


def write_sweep(directory: Path, spec: SweepSpec, sizes: list[list[int]]) -> None:
    """Writes sweep.json, completely or not at all.

    Args:
      sizes: the sizes of each group's batches; they stay when the sweep is continued.
    """
    content = {"format": FORMAT, "question": spec.describe(), "batches": sizes}
    write_atomic(directory / NAME, json.dumps(content, indent=1))


def _read(directory: Path) -> dict[str, Any] | None:
    path = directory / NAME
    try:
        if path.exists():
            content = json.loads(path.read_text())
            if content["format"] != FORMAT:
                raise DirectoryError(
                    f"{path} has format {content['format']}, this version reads format {FORMAT}; "
                    "choose another --run_dir"
                )
            _flatten(content["question"])
            if not all(size >= 1 for sizes in content["batches"] for size in sizes):
                raise ValueError("a batch has no members")
            return content
        entries = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    except DirectoryError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DirectoryError(
            f"run_dir {str(directory)!r} cannot be read: {reason}; choose another --run_dir"
        ) from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DirectoryError(f"{path} is damaged ({reason}); choose another --run_dir") from error
    if entries - _OF_A_START:
        raise DirectoryError(f"{directory} is no sweep's directory and not empty; choose another")
    return None


def _flatten(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a spec's entries and lists in one dictionary."""
    return {name: value for name, value in spec.items() if name != "lists"} | {**spec["lists"]}
