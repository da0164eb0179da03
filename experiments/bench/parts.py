"""Where an update's time goes: the profiler's events, by the scopes that agents name."""

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData
from jaxtyping import Array

from dsrl_jax.agents.registry import AGENTS
from dsrl_jax.agents.types import State
from experiments.bench.measure import MeasurementError, Report, show, table
from experiments.bench.workload import SPACES, agent_config, random_batch

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
# Their own time is that of what they call.
CONTAINERS = {"while", "conditional", "call", "tuple", "get-tuple-element", "parameter"}


def run(updates: int, algos: tuple[str, ...], hidden_sizes: tuple[int, ...]) -> Report:
    """Profiles `updates` updates of every algorithm, from the one after an adaptation on."""
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
    return Report((table(["µs an update, profiled", *algos], rows),), results, {})


def profile(algo: str, updates: int, hidden_sizes: tuple[int, ...]) -> dict[str, float]:
    """Microseconds an update that each part takes."""
    config = agent_config(algo, hidden_sizes)
    agent = AGENTS[type(config)](SPACES)
    batch = jax.tree.map(lambda leaf: leaf[0], random_batch(1, config.batch_size))
    key, traced = jax.random.key(0), jax.tree.map(jnp.asarray, config)

    @jax.jit
    def scan(config: Any, state: State, first: Array) -> State:
        def body(state: State, step: Array) -> tuple[State, None]:
            return agent.update(key, config, state, batch, step)[0], None

        return jax.lax.scan(body, state, first + jnp.arange(updates))[0]

    start = jnp.int32(config.sparse.adaptation_period)
    compiled = scan.lower(traced, agent.init(key, traced), start).compile()
    state = jax.block_until_ready(compiled(traced, agent.init(key, traced), start))
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            jax.block_until_ready(compiled(traced, state, start + updates))
        events = list(_events(Path(directory)))
    scopes = read_scopes(compiled.as_text() or "")
    return {part: total / updates for part, total in sum_parts(events, scopes).items()}


def read_scopes(program: str) -> dict[str, str]:
    """The part that each operation of a compiled program belongs to, by its name."""
    scopes = {}
    for name, operation, rest in re.findall(r"%?([\w.\-]+) = \S+ ([\w\-]+)\((.*)", program):
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
