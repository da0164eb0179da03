"""TensorBoard events of a run, written at once.

tensorboardX's own SummaryWriter hands events to a thread; where the disk is full, that thread dies
and the run then waits for it for ever.
"""

import math
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

# What a row names, and what tells where it belongs, is no curve.
_NO_CURVES = ("member", "seed", "env_step", "frozen_at")


class Events:
    """One file of events; a run that was continued has several.

    Args:
      first_step: TensorBoard hides what earlier files tell of this step and later ones.
    """

    def __init__(self, directory: Path, first_step: int):
        directory.mkdir(parents=True, exist_ok=True)
        # The writer names files by the clock, which may jump: two must never share a name.
        suffix = f".{len(list(directory.iterdir()))}"
        self.writer = EventsWriter(str(directory / "events"), suffix)
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, row: dict[str, Any]) -> None:
        """The finite numbers of a row, each under its name, member, network and layer."""
        whose = next((name for name in ("member", "seed") if name in row), None)
        prefix = f"{whose}_{row[whose]}/" if whose else "time/"
        if "layer" in row:
            prefix += f"{row['network']}/{row['layer']}/"
        for name, value in row.items():
            is_number = isinstance(value, int | float) and name not in _NO_CURVES
            if is_number and math.isfinite(value):
                self._write(Event(step=row["env_step"], summary=scalar(prefix + name, value)))

    def flush(self) -> None:
        """Brings everything to the disk."""
        self.writer.flush()

    def close(self) -> None:
        """Writes the rest, and closes the file."""
        self.writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self.writer.write_event(event)
