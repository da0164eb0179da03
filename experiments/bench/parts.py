"""Where an update's time goes: the profiler's events, by the scopes that agents name."""

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData

from experiments.bench.measure import MeasurementError, Report, show, table
from experiments.bench.workload import agent_config, compile_scan

# As the agents' updates name them, with `jax.named_scope`; an inner scope is named last.
PARTS = {
    "td_target": "target of the critics",
    "critic_loss": "critics: loss and gradient",
    "actor_loss": "actor: loss and gradient",
    "gradient_step": "optimizer and masks",
    "adapt_net": "drop and grow",
    "average_target": "targets: average and prune",
}
OTHER = "other"
# Its name, its type, which may be a tuple's, and the operation that it is.
OPERATION = re.compile(r"%?([\w.\-]+) = (?:\(.*?\)|\S+) ([\w\-]+)\((.*)")
# Their own time is that of what they call.
CONTAINERS = {"while", "conditional", "call", "tuple", "get-tuple-element", "parameter"}


def run(updates: int, algos: tuple[str, ...], hidden_sizes: tuple[int, ...]) -> Report:
    """Profiles `updates` updates of every algorithm, one adaptation among each 1,000."""
    found = {algo: profile(algo, updates, hidden_sizes) for algo in algos}
    results = {
        f"{algo}_{part}_microseconds": value
        for algo, parts in found.items()
        for part, value in parts.items()
    }
    rows = []
    for part, meaning in [*PARTS.items(), (OTHER, OTHER)]:
        shares = []
        for parts in found.values():
            total = sum(parts.values())
            shares.append(f"{show(parts[part])} ({parts[part] / total:.0%})")
        rows.append([meaning, *shares])
    rows.append(["sum", *(show(sum(parts.values())) for parts in found.values())])
    return Report((table(["thread-µs an update, profiled", *algos], rows),), results, {})


def profile(algo: str, updates: int, hidden_sizes: tuple[int, ...]) -> dict[str, float]:
    """Microseconds an update that each part takes, those of all threads together."""
    scan = compile_scan(agent_config(algo, hidden_sizes), updates)
    state = jax.block_until_ready(scan.run(scan.state, jnp.int32(scan.first)))
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            jax.block_until_ready(scan.run(state, jnp.int32(scan.first + updates)))
        events = list(_events(Path(directory)))
    totals = sum_parts(events, read_scopes(scan.program))
    if not any(totals.values()):
        raise MeasurementError("JAX's profiler tells of no operation of the update's program")
    return {part: total / updates for part, total in totals.items()}


def read_scopes(program: str) -> dict[str, str]:
    """The part that each operation of a compiled program belongs to, by its name."""
    scopes = {}
    for name, operation, rest in OPERATION.findall(program):
        if operation in CONTAINERS:
            continue
        found = re.search(r'op_name="([^"]*)"', rest)
        path = found[1].split("/") if found else []
        # "transpose(jvp(critic_loss))" is the gradient's part of it.
        scopes[name] = next(
            (part for step in reversed(path) for part in PARTS if part in step), OTHER
        )
    return scopes


def sum_parts(events: Iterable[tuple[str, float]], scopes: Mapping[str, str]) -> dict[str, float]:
    """Microseconds by part, of (operation, nanoseconds); what is no operation is left out."""
    totals = dict.fromkeys([*PARTS, OTHER], 0.0)
    for name, nanoseconds in events:
        if name in scopes:
            totals[scopes[name]] += nanoseconds / 1e3
    return totals


def _events(directory: Path) -> Iterable[tuple[str, float]]:
    files = list(directory.rglob("*.xplane.pb"))
    if not files:
        raise MeasurementError("JAX's profiler wrote no events")
    for plane in ProfileData.from_file(str(files[0])).planes:
        for line in plane.lines:
            yield from ((event.name, event.duration_ns) for event in line.events)
