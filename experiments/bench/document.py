"""Writes what all benchmarks found into the documentation, beside what was aimed at."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.training.checkpoints.checksums import write_atomic
from experiments.bench.command import BENCHMARKS
from experiments.bench.measure import MeasurementError, Report, ask, show
from experiments.bench.peers import find_interpreter
from experiments.cli.machine import describe_machine
from experiments.cli.values import UsageError

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


class Aim(NamedTuple):
    """A bound, and where the figure that it holds for is found."""

    text: str
    benchmark: str
    key: str
    bound: float
    is_most: bool = False  # else at least


AIMS = (
    Aim("DS-TD3 update / dense TD3 update, in a scan", "update", "ds_td3_over_td3", 0.90),
    Aim("DS-SAC update / dense SAC update, in a scan", "update", "ds_sac_over_sac", 0.95),
    Aim("TD3 update / matrix product of its size, FLOP/s", "update", "td3_over_own_product", 0.65),
    Aim("SAC update / matrix product of its size, FLOP/s", "update", "sac_over_own_product", 0.70),
    Aim("DS-TD3, one call a step / in a scan", "loop", "ds_td3_call_over_scan", 0.92),
    Aim("DS-SAC, one call a step / in a scan", "loop", "ds_sac_call_over_scan", 0.92),
    Aim("DS-TD3, whole loop / scan + environment", "loop", "ds_td3_loop_over_parts", 0.90),
    Aim("DS-TD3 loop / SBX TD3 loop", "peers", "ds_td3_over_sbx_td3", 1.7),
    Aim("DS-SAC loop / SBX SAC loop", "peers", "ds_sac_over_sbx_sac", 1.25),
    Aim(
        "evaluations / whole run, HalfCheetah", "evaluation", "halfcheetah_evaluation_share", 0.10,
        is_most=True,
    ),
    Aim("seconds to the first update, second start", "startup", "second_start_seconds", 10, True),
)  # fmt: skip

# Of the benchmarks that need any.
FLAGS = {"export": ["--threads=1"]}


def run(path: str, python: str | None, device: str, threads: int | None, kept: str) -> Report:
    """Measures everything and writes it between the two marks of a file.

    Each benchmark has a process of its own, as one that has compiled much is slower. It tells on
    stderr which one is measured.

    Args:
      kept: a folder where what is measured waits until all is; the same command, on the same
        machine at the same commit, goes on from there.
    Raises:
      UsageError: if the file has no such marks, or the interpreter no SBX.
      MeasurementError: if a benchmark fails, or is of another commit than those before; the file
        is as it was then, what is measured is kept.
    """
    place = ROOT / path
    _around(place)
    if python:
        find_interpreter(python)
    machine, printed = describe_machine(), dict[str, str]()
    found: dict[str, Mapping[str, Any]] = {}
    for name in BENCHMARKS:
        if name == "document" or (name == "peers" and not python):
            continue
        where = f"--python={python}" if name == "peers" else f"--device={device}"
        given = FLAGS.get(name) or ([f"--threads={threads}"] if threads else [])
        printed[name], found[name] = measure_once(name, [where, *given], ROOT / kept, machine)
    before, after = _around(place)  # As it is now: it may have been edited while all was measured.
    write_atomic(place, (before + "\n".join(section(printed, found)) + after).removesuffix("\n"))
    for name in found:
        _place_of(name, ROOT / kept).unlink()
    return Report((aims_table(found), f"written into {path}"), {}, {})


def measure_once(
    name: str, flags: list[str], kept: Path, machine: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    """As `measure`, and the `date`; or what is kept, by these flags on this machine at its commit.

    Files that differ from the commit could be others than those: with such, it measures.
    """
    place, made_by = _place_of(name, kept), {"flags": flags, "machine": machine}
    if place.exists() and machine["commit"].isalnum():
        held = json.loads(place.read_text())
        if held["made_by"] == made_by:
            print(f"{name} is measured, by {place}", file=sys.stderr, flush=True)
            return held["printed"], held["found"]
    print(f"measuring {name}", file=sys.stderr, flush=True)
    try:
        printed, found = measure(name, flags)
    except MeasurementError as error:
        raise MeasurementError(f"{error}; {kept} keeps what is measured") from error
    if (commit := found["machine"]["commit"]) != machine["commit"]:
        raise MeasurementError(
            f"{name} is of commit {commit}, what was measured before of {machine['commit']}: "
            f"leave the clone as it is while it measures; {kept} keeps what is measured"
        )
    found = {**found, "date": time.strftime("%Y-%m-%d")}
    kept.mkdir(parents=True, exist_ok=True)
    write_atomic(place, json.dumps({"made_by": made_by, "printed": printed, "found": found}))
    return printed, found


def measure(name: str, flags: list[str]) -> tuple[str, Mapping[str, Any]]:
    """What a benchmark prints, and its figures. Raises MeasurementError."""
    command = [sys.executable, "-m", "experiments.bench", name, "--json", *flags]
    *lines, last = ask(command, ROOT).rstrip().splitlines()
    return "\n".join(lines), json.loads(last)


def section(printed: Mapping[str, str], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines between the marks, in Markdown."""
    machine = next(iter(found.values()))["machine"]
    dates = ", ".join(sorted({each["date"] for each in found.values()}))
    where = f"on {machine['device'].split()[0]} with {machine['threads'] or 'all'} threads"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"Measured on {dates} at commit {machine['commit'] or 'unknown'}:",
        f"{machine['cpu']}, {machine['cores']} cores, {where}; {versions}.",
        "",
        aims_table(found),
        "",
    ]
    for text in printed.values():
        summary, *table = text.splitlines()
        lines += [f"**{summary}**", "", "```text", *table, "```", ""]
    return lines


def aims_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Each bound, what was reached, and whether that keeps it, in Markdown."""
    lines = ["| figure | aim | reached | kept |", "|---|---|---|---|"]
    for aim in AIMS:
        bound = f"{'below' if aim.is_most else 'at least'} {aim.bound:g}"
        if aim.benchmark not in found:
            lines.append(f"| {aim.text} | {bound} | not measured | |")
            continue
        value = found[aim.benchmark][aim.key]
        kept = value < aim.bound if aim.is_most else value >= aim.bound
        lines.append(f"| {aim.text} | {bound} | {show(value)} | {'yes' if kept else '**no**'} |")
    return "\n".join(lines)


def _place_of(name: str, kept: Path) -> Path:
    return kept / f"{name}.json"


def _around(place: Path) -> tuple[str, str]:
    """The file up to the first mark, and from the second one on."""
    try:
        text = place.read_text()
    except OSError as error:
        raise UsageError(f"--path={place} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--path={place} is no text in UTF-8") from error
    if not -1 < text.find(BEGIN) < text.find(END):
        raise UsageError(f"--path={place} needs the lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n", f"{END}{rest.split(END, 1)[1]}"
