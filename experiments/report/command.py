"""Reports on runs: python -m experiments.report [DIR...], by default on results/.

Reads run directories, and folders that contain them at any depth, and writes report.html, one file
that needs no network, and report.md. With --watch RUN_DIR it updates the page, in that directory,
while the run trains.
"""

import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

from experiments.cli.flags import help_text, parse
from experiments.cli.values import UsageError, parse_value
from experiments.run_dir.state import FILES

DEFAULT = Path(__file__).parents[2] / "results"
NAMES = ("report.html", "report.md")


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status."""
    values = make_flags()
    try:
        places = [Path(name) for name in parse(values, arguments, stray=True)]
        if values.help:
            print(__doc__ + help_text(values))
            return 0
        interval = parse_value("interval", int, values.interval)
        if interval < 1:
            raise UsageError(f"--interval must be at least 1 second, got {interval}")
        if values.watch:
            if places:
                raise UsageError(f"--watch takes one run directory, got {places[0]} too")
            watch(Path(values.watch), _output(values, Path(values.watch)), interval)
        else:
            here = Path.cwd()
            usual = DEFAULT.relative_to(here) if DEFAULT.is_relative_to(here) else DEFAULT
            report(places or [usual], _output(values, Path()))
    except BrokenPipeError:  # The reader has gone: `command.start` ends the process.
        raise
    except (ImportError, OSError, ValueError) as error:
        needs = (
            "; a report needs: pip install -e '.[report]'" if isinstance(error, ImportError) else ""
        )
        print(f"error: {' '.join(str(error).split())}{needs}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def make_flags() -> flags.FlagValues:
    """Returns the flags of the command, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "a report"}
    flags.DEFINE_string(
        "output", None, "the folder of report.html and report.md; default: here, or RUN_DIR", **add
    )
    flags.DEFINE_string(
        "watch", None, "a run directory; updates its report until the run ends", **add
    )
    flags.DEFINE_string("interval", "20", "seconds between two updates of a watched run", **add)
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    return values


def report(places: list[Path], output: Path) -> None:
    """Writes the report of all runs in some places."""
    from experiments.report.build import build
    from experiments.report.page import to_html, to_markdown

    document = build(places)
    _write(output, to_html(document), to_markdown(document))
    for note in document.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{output / NAMES[0]}\n{output / NAMES[1]}")


def watch(directory: Path, output: Path, interval: int) -> None:
    """Writes the report of a run whenever its tables have grown, until it has ended.

    Args:
      interval: seconds between two looks.
    Raises:
      UsageError: if there is no such directory, or it has no run.
    """
    from experiments.report.build import build_of_run, is_over
    from experiments.report.page import to_html, to_markdown
    from experiments.report.read import read_table

    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory: name that of a run")
    if not (directory / "config.json").exists() and (
        inside := sorted(directory.glob("*/config.json"))
    ):
        raise UsageError(
            f"{directory} is a folder of run directories: name one of them, as {inside[0].parent}"
        )
    last, over = None, False
    while True:
        sizes = _table_sizes(directory)
        if over and sizes == last:
            return
        if sizes != last and read_table(directory / FILES["evaluation"]):
            document, over = build_of_run(directory), is_over(directory)
            page = to_html(document, None if over else interval)
            _write(output, page, to_markdown(document))
            print(f"{output / NAMES[0]}: {document.text}", flush=True)
        elif last is None:
            print(f"waiting for the first evaluation in {directory}", flush=True)
        last = sizes
        time.sleep(interval)


def _table_sizes(directory: Path) -> tuple[int, ...]:
    """Returns the sizes of the tables of a run, in bytes."""
    paths = [directory / name for name in FILES.values()]
    return tuple(path.stat().st_size if path.exists() else 0 for path in paths)


def _output(values: flags.FlagValues, usual: Path) -> Path:
    output = Path(values.output) if values.output else usual
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output must be a directory, got the file {output}")
    return output


def _write(output: Path, html: str, markdown: str) -> None:
    """Writes both files; a reader sees each one complete, old or new."""
    from dsrl_jax.training.checkpoints.checksums import write_atomic

    output.mkdir(parents=True, exist_ok=True)
    for name, text in zip(NAMES, (html, markdown), strict=True):
        write_atomic(output / name, text)
