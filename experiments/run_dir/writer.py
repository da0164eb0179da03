"""Writes a run directory: config.json, starts.jsonl, CSV tables and TensorBoard events.

config.json describes the run and its first start; starts.jsonl has a line for every start, with
what it computes on. The tables are complete after every row.
"""

import csv
import io
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from dsrl_jax.training.checkpoints.checksums import write_atomic
from experiments.run_dir.directory import MAY_CHANGE, read_config
from experiments.run_dir.state import FILES

Row = dict[str, Any]

# Numbers of a row that identify it, and are no curves.
_NO_CURVES = ("member", "seed", "env_step", "frozen_at")


class RunDirectory:
    """Writes rows as they come. The first row of a continued run removes later rows.

    Args:
      config: the content of config.json. An existing one stays, except for `MAY_CHANGE`.
      start: what this part of the run computes on, and its command; a line of starts.jsonl.
    """

    def __init__(self, directory: Path, config: dict[str, Any], start: dict[str, Any]):
        self.directory, self.start = directory, start
        self.events: Any = None  # an EventsWriter after the first row
        previous = read_config(directory)
        changed = {key: config[key] for key in MAY_CHANGE if key in config}
        if previous is None or previous | changed != previous:
            text = json.dumps((previous or config) | changed, indent=1)
            write_atomic(directory / "config.json", text)

    @property
    def tables(self) -> tuple[Path, ...]:
        """The files that equal an uninterrupted run's to the byte."""
        return tuple(self.directory / name for kind, name in FILES.items() if kind != "timing")

    def write(self, row: Row) -> None:
        """Appends a row to its table, and its numbers to the TensorBoard events."""
        if row["kind"] == "start":
            self._start(row["env_step"])
        elif row["kind"] == "checkpoint":
            self.events.flush()
        elif row["kind"] in FILES:
            append_row(self.directory / FILES[row["kind"]], to_cells(row))
            for event in to_events(row):
                self.events.write_event(event)

    def close(self) -> None:
        """Writes the buffered events."""
        if self.events is not None:
            self.events.close()

    def _start(self, env_step: int) -> None:
        cut_rows(self.directory / FILES["timing"], env_step)
        with (self.directory / "starts.jsonl").open("a+b") as file:
            # A full disk or a kill may have cut the last line short; this one starts a new line.
            is_whole = not file.tell() or _last_byte(file) == b"\n"
            line = json.dumps({"env_step": env_step, **self.start}) + "\n"
            file.write((line if is_whole else "\n" + line).encode())
        # TensorBoard then hides an earlier attempt at the steps that follow.
        self.events = open_events(self.directory / "tensorboard", env_step + 1 if env_step else 0)


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def append_row(path: Path, cells: dict[str, Any]) -> None:
    """Appends a row to a CSV file in one write, with the header if the file is new."""
    line = io.StringIO()
    writer = csv.DictWriter(line, cells, lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerow(cells)
    with path.open("a") as file:
        file.write(line.getvalue())


def to_cells(row: Row) -> dict[str, Any]:
    """Returns a row's cells. None becomes an empty cell.

    The values of episodes become columns, return_0, return_1, …; degrees become one cell.
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
    """Removes the rows of later steps and damaged lines.

    A run that starts at step 0 keeps nothing, because it writes the row of step 0 again.
    """
    if not path.exists():
        return
    header, *lines = path.read_text(errors="replace").splitlines(keepends=True) or [""]
    columns = header.strip().split(",")
    if env_step == 0 or not header.endswith("\n") or "env_step" not in columns:
        path.unlink()
        return
    column = columns.index("env_step")
    kept = [line for line in lines if line.endswith("\n") and _is_until(line, column, env_step)]
    write_atomic(path, "".join([header, *kept]).rstrip("\n"))


def _is_until(line: str, column: int, env_step: int) -> bool:
    """Returns whether a row is of this step or an earlier one; False if it has no step."""
    cells = line.strip().split(",")
    return column < len(cells) and cells[column].isdecimal() and int(cells[column]) <= env_step


def open_events(directory: Path, first_step: int) -> EventsWriter:
    """Opens a new file of TensorBoard events; a continued run has several.

    Not by tensorboardX's SummaryWriter: it writes in a thread, which dies if the disk is full, and
    the run then waits for it forever.

    Args:
      first_step: TensorBoard hides this step and later ones of earlier files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The writer names files by the clock, which may jump: a number keeps the names different.
    writer = EventsWriter(str(directory / "events"), f".{len(list(directory.iterdir()))}")
    log = SessionLog(status=SessionLog.START)
    writer.write_event(Event(wall_time=time.time(), step=first_step, session_log=log))
    return writer


def to_events(row: Row) -> Iterator[Event]:
    """Yields a row's finite numbers, each named after its member, network and layer."""
    member = next((name for name in ("member", "seed") if name in row), None)
    prefix = f"{member}_{row[member]}/" if member else "time/"
    if "layer" in row:
        prefix += f"{row['network']}/{row['layer']}/"
    for name, value in row.items():
        is_number = isinstance(value, int | float) and name not in _NO_CURVES
        if is_number and math.isfinite(value):
            summary = scalar(prefix + name, value)
            yield Event(wall_time=time.time(), step=row["env_step"], summary=summary)
