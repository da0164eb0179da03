"""A run directory: config.json, CSV files that are whole after every row, TensorBoard events.

starts.jsonl tells on what each part of a run was computed: config.json keeps what
the first one was.
"""

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.config.to_json import describe, read_description
from dsrl_jax.training.checkpoints.checksums import UNFINISHED, write_atomic
from experiments.run_dir.naming import as_name, differences, short_hash
from experiments.run_dir.state import FILES, has_lost_its_checkpoints

Row = dict[str, Any]

# Settings that a continued run may change: how long it is, and how often it saves.
MAY_CHANGE = ("steps", "checkpoint_period")

# What a run that was started by another command says; see experiments.paper.
LOG = "output.log"

# What a run that was killed before its first file leaves.
OF_A_START = {"lock", f"config.json{UNFINISHED}", LOG}


# What config.json does not name of a plain run.
_UNNAMED: dict[str, Any] = {"varied": {}, "freezes": False}


class DirectoryError(ValueError):
    """A run directory that cannot be used, in one line."""


def default_directory(experiment: Experiment) -> Path:
    """runs/{env}-{algo}-s{seeds}, and a hash of what differs from the preset's defaults."""
    seeds = experiment.seeds
    whole = seeds == tuple(range(seeds[0], seeds[-1] + 1))
    name = f"{seeds[0]}-{seeds[-1]}" if whole and len(seeds) > 1 else "_".join(map(str, seeds))
    plain = resolve(experiment.env, experiment.algo)
    changed = differences(experiment, plain, besides=("seeds", *MAY_CHANGE))
    end = f"-{short_hash(changed)}" if changed else ""
    return Path("runs") / f"{as_name(experiment.env)}-{experiment.algo}-s{name}{end}"


def check_directory(directory: Path, experiment: Experiment) -> dict[str, Any] | None:
    """The config.json of the very run that the directory holds, or None where it is free.

    Raises:
      DirectoryError: if it holds another run or something else.
    """
    held = read_config(directory)
    if held is None:
        return None
    there = with_defaults(held, experiment)
    here = describe_whole(experiment)
    differing = [
        f"{key} is {there[key]!r} there and {value!r} here"
        for key, value in here.items()
        if there[key] != value and key not in MAY_CHANGE
    ]
    if differing:
        raise DirectoryError(
            f"{directory} holds another run: {'; '.join(differing)}; "
            "choose another --run_dir or the same settings"
        )
    if held["steps"] > experiment.loop.steps:
        raise DirectoryError(
            f"{directory} holds a run of {held['steps']:,} steps, got steps "
            f"{experiment.loop.steps:,}; they can be raised, not lowered; "
            "choose another --run_dir, or remove it"
        )
    if has_lost_its_checkpoints(directory, tuple(held["seeds"]), held["steps"]):
        raise DirectoryError(
            f"{directory} holds a run that was finished, and its checkpoints are gone: it cannot "
            "go on; remove it to train it anew, or choose another --run_dir"
        )
    return held


def describe_whole(experiment: Experiment) -> dict[str, Any]:
    """What config.json holds of an experiment, with what it leaves out of a plain run."""
    return _UNNAMED | describe(experiment)


def with_defaults(held: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """A config.json; one of before a setting existed has that setting's default."""
    plain = replace(
        experiment,
        agent=type(experiment.agent)(),
        loop=LoopConfig(),
        brax=BraxConfig() if experiment.brax else None,
        initial_policy=None,
        varied={},
        freeze_nonfinite=False,
    )
    return describe_whole(plain) | held


def read_config(directory: Path) -> dict[str, Any] | None:
    """What config.json holds; None where there is no run, nor anything else.

    Raises:
      DirectoryError: if it cannot be read, or the directory holds something else.
    """
    path = directory / "config.json"
    try:
        if path.exists():
            return read_description(path)
        entries = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    except ValueError as error:
        raise DirectoryError(f"{error}; choose another --run_dir") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DirectoryError(
            f"run_dir {str(directory)!r} cannot be read: {reason}; choose another --run_dir"
        ) from error
    if entries - OF_A_START:
        raise DirectoryError(f"{directory} is no run directory and not empty; choose another")
    return None


class RunDirectory:
    """Writes rows as they come. The first row of a continued run cuts what lies behind it.

    Args:
      config: what config.json shall hold. Where there is one, it stays, but for what `MAY_CHANGE`.
      start: on what this part of the run is computed, and its command; a line of starts.jsonl.
    """

    def __init__(self, directory: Path, config: dict[str, Any], start: dict[str, Any]):
        self.directory, self.start = directory, start
        self.events: Any = None
        held = read_config(directory)
        changed = {key: config[key] for key in MAY_CHANGE if key in config}
        if held is None or held | changed != held:
            write_atomic(
                directory / "config.json", json.dumps((held or config) | changed, indent=1)
            )

    @property
    def tables(self) -> tuple[Path, ...]:
        """The files that an uninterrupted run's equal to the byte."""
        return tuple(self.directory / name for kind, name in FILES.items() if kind != "timing")

    def write(self, row: Row) -> None:
        """Appends a row to its file, and its numbers to the TensorBoard events."""
        if row["kind"] == "start":
            self._start(row["env_step"])
        elif row["kind"] == "checkpoint":
            self.events.flush()
        elif row["kind"] in FILES:
            self._append(self.directory / FILES[row["kind"]], to_cells(row))
            self.events.add(row)

    def close(self) -> None:
        """Writes what TensorBoard holds back."""
        if self.events is not None:
            self.events.close()

    def _append(self, path: Path, cells: dict[str, Any]) -> None:
        line = io.StringIO()
        writer = csv.DictWriter(line, cells, lineterminator="\n")
        if not path.exists():
            writer.writeheader()
        writer.writerow(cells)
        with path.open("a") as file:
            file.write(line.getvalue())

    def _start(self, env_step: int) -> None:
        from experiments.run_dir.events import Events

        cut_rows(self.directory / FILES["timing"], env_step)
        with (self.directory / "starts.jsonl").open("a+b") as file:
            # A last line that a full disk or a kill cut short must not swallow this one.
            whole = not file.tell() or _last_byte(file) == b"\n"
            line = json.dumps({"env_step": env_step, **self.start}) + "\n"
            file.write((line if whole else "\n" + line).encode())
        # TensorBoard then shows nothing of a first attempt at the steps that follow.
        first_step = env_step + 1 if env_step else 0
        self.events = Events(self.directory / "tensorboard", first_step)


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def to_cells(row: Row) -> dict[str, Any]:
    """A row's cells: an episode's values become columns, return_0, return_1, …; degrees one cell.

    What is not known, None, is an empty cell.
    """
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if name == "input_degrees":
            cells[name] = " ".join(map(str, value))
        elif isinstance(value, list):
            cells |= {f"{name.removesuffix('s')}_{i}": entry for i, entry in enumerate(value)}
        elif name != "kind":
            cells[name] = value
    return cells


def cut_rows(path: Path, env_step: int) -> None:
    """Removes rows of later steps, and lines that are damaged.

    Of a run that starts at step 0 nothing is kept: it tells that step again.
    """
    if not path.exists():
        return
    header, *lines = path.read_text(errors="replace").splitlines(keepends=True) or [""]
    columns = header.strip().split(",")
    if env_step == 0 or not header.endswith("\n") or "env_step" not in columns:
        path.unlink()
        return
    place = columns.index("env_step")
    kept = [line for line in lines if line.endswith("\n") and _is_until(line, place, env_step)]
    write_atomic(path, "".join([header, *kept]).rstrip("\n"))


def _is_until(line: str, place: int, env_step: int) -> bool:
    """Whether a row is of this step or an earlier one; a row without a step is not."""
    cells = line.strip().split(",")
    return place < len(cells) and cells[place].isdecimal() and int(cells[place]) <= env_step
