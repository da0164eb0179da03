"""A run directory: config.json, CSV files that are whole after every row, TensorBoard events."""

import csv
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

from dsrl_jax.presets import Experiment, resolve
from dsrl_jax.settings import flatten

Row = dict[str, Any]

# Columns of each file; a row has its keys. Clock times are in timings.csv alone.
FILES = {
    "evaluation": "evaluations.csv",
    "training": "training.csv",
    "topology": "topology.csv",
    "timing": "timings.csv",
}


class DirectoryError(ValueError):
    """A run directory that cannot be used, in one line."""


def default_directory(experiment: Experiment) -> Path:
    """runs/{env}-{algo}-s{seeds}, and a hash of what differs from the preset's defaults."""
    seeds = experiment.seeds
    whole = seeds == tuple(range(seeds[0], seeds[-1] + 1))
    name = f"{seeds[0]}-{seeds[-1]}" if whole and len(seeds) > 1 else "_".join(map(str, seeds))
    env = experiment.env.replace(":", "-").replace("/", "-").lower()
    plain = resolve(experiment.env, experiment.algo)
    changed = {
        key: value
        for key, value in describe(experiment).items()
        if value != describe(plain)[key] and key not in ("seeds", "steps")
    }
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6]
    return Path("runs") / f"{env}-{experiment.algo}-s{name}{'-' + digest if changed else ''}"


def describe(experiment: Experiment) -> dict[str, Any]:
    """Everything that decides what a run computes, flat, as it stands in config.json."""
    return {
        "env": experiment.env,
        "env_preset": experiment.env_preset,
        "backend": experiment.backend,
        "algo": experiment.algo,
        "preset": experiment.preset,
        "seeds": list(experiment.seeds),
        **_plain(flatten(experiment.loop)),
        **_plain(flatten(experiment.agent)),
    }


def check_directory(directory: Path, experiment: Experiment) -> bool:
    """Whether the directory holds this very run already, which then continues.

    Raises:
      DirectoryError: if it holds another run or something else.
    """
    config = directory / "config.json"
    try:
        text = config.read_text() if config.exists() else None
        is_free = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DirectoryError(
            f"run_dir {str(directory)!r} cannot be read: {reason}; choose another --run_dir"
        ) from error
    if text is not None:
        try:
            held = dict(json.loads(text))
        except (TypeError, ValueError) as error:
            raise DirectoryError(f"{config} cannot be read: {error}") from error
        differing = [
            f"{key} is {held.get(key)!r} there and {value!r} here"
            for key, value in describe(experiment).items()
            if held.get(key) != value and not (key == "steps" and held.get(key, 0) < value)
        ]
        if differing:
            raise DirectoryError(
                f"{directory} holds another run: {'; '.join(differing)}; "
                "choose another --run_dir or the same settings"
            )
        return True
    if not is_free:
        raise DirectoryError(f"{directory} is no run directory and not empty; choose another")
    return False


def make_directory(directory: Path) -> None:
    """Makes a run directory, or raises DirectoryError if it cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DirectoryError(
            f"run_dir {str(directory)!r} cannot be written: {reason}; choose another --run_dir"
        ) from error


class RunDirectory:
    """Writes rows as they come. The first row of a continued run cuts what lies behind it."""

    def __init__(self, directory: Path, config: dict[str, Any]):
        self.directory = directory
        self.events: Any = None
        text = json.dumps(config, indent=1)
        temporary = directory / "config.json.new"
        temporary.write_text(text + "\n")
        temporary.replace(directory / "config.json")

    def write(self, row: Row) -> None:
        """Appends a row to its file, and its numbers to the TensorBoard events."""
        if row["kind"] == "start":
            self._start(row["env_step"])
            return
        cells = to_cells(row)
        path = self.directory / FILES[row["kind"]]
        line = io.StringIO()
        writer = csv.DictWriter(line, cells, lineterminator="\n")
        if not path.exists():
            writer.writeheader()
        writer.writerow(cells)
        with path.open("a") as file:
            file.write(line.getvalue())
        prefix = f"seed_{row['seed']}/" if "seed" in row else "time/"
        if "layer" in row:
            prefix += f"{row['network']}/{row['layer']}/"
        for name, value in row.items():
            number = isinstance(value, int | float) and name not in ("seed", "env_step")
            if number and math.isfinite(value):
                self.events.add_scalar(prefix + name, value, row["env_step"])

    def close(self) -> None:
        """Writes what TensorBoard holds back."""
        if self.events is not None:
            self.events.close()

    def _start(self, env_step: int) -> None:
        from tensorboardX import SummaryWriter

        for name in FILES.values():
            cut_rows(self.directory / name, env_step)
        # TensorBoard then shows nothing of a first attempt at the steps that follow.
        purge_step = env_step + 1 if env_step else 0
        self.events = SummaryWriter(str(self.directory / "tensorboard"), purge_step=purge_step)


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
    """Removes rows of later steps, and a last line that was cut short.

    Of a run that starts at step 0 nothing is kept: it tells that step again.
    """
    if not path.exists():
        return
    header, *lines = path.read_text().splitlines(keepends=True) or [""]
    if env_step == 0 or not header.endswith("\n"):
        path.unlink()
        return
    column = header.strip().split(",").index("env_step")
    kept = [
        line for line in lines if line.endswith("\n") and int(line.split(",")[column]) <= env_step
    ]
    temporary = path.with_suffix(".new")
    temporary.write_text("".join([header, *kept]))
    temporary.replace(path)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}
