"""What width and sparsity cost: an update's time and memory, sparse against dense."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dsrl_jax.agents.config import AgentConfig
from dsrl_jax.agents.registry import AGENTS
from dsrl_jax.agents.types import Spaces, State
from dsrl_jax.envs import catalog
from dsrl_jax.presets import resolve
from dsrl_jax.training.replay import Replay
from experiments.bench.measure import Report, Side, in_turn, median, rates, ratio, show, table
from experiments.bench.workload import ENV, SPACES, Memory, random_batch

# Updates in one measurement at this width; at others as many as take about as long.
WIDTH, FEWEST = 256, 4

TRANSITIONS = 1_000_000

Place = tuple[int, float | None]  # width and sparsity; None is dense


def run(
    repetitions: int,
    updates: int,
    algo: str,
    widths: tuple[int, ...],
    sparsities: tuple[float, ...],
    envs: tuple[str, ...],
) -> Report:
    """Measures an algorithm's updates between adaptations, and its dense twin's, in turn."""
    dense = algo.split("_")[-1]
    sides: dict[Place, Side] = {}
    memories: dict[Place, Memory] = {}
    for width in widths:
        count = _updates(updates, width)
        for sparsity in (None, *sparsities):
            config = _config(dense if sparsity is None else algo, width, sparsity)
            place = width, sparsity
            sides[place], memories[place] = scaled_side(config, count)
    seconds = in_turn(sides, repetitions)
    found = {place: rates(taken, _updates(updates, place[0])) for place, taken in seconds.items()}
    return _tell(algo, found, memories, replay_table(envs))


def _tell(
    algo: str,
    found: Mapping[Place, list[float]],
    memories: Mapping[Place, Memory],
    replays: str,
) -> Report:
    """The report of updates a second and memory, each beside the dense twin of its width."""
    dense = algo.split("_")[-1]
    results: dict[str, float] = {}
    rows = []
    for (width, sparsity), values in found.items():
        of_dense = ratio(values, found[width, None])
        memory, dense_memory = memories[width, sparsity], memories[width, None]
        named = f"{dense if sparsity is None else algo}_{width}_{sparsity or 0}"
        results |= {
            f"{named}_updates_per_second": median(values),
            f"{named}_over_dense": of_dense,
            f"{named}_state_bytes": memory.state,
            f"{named}_scratch_bytes": memory.scratch,
        }
        rows.append(
            [
                str(width),
                "dense" if sparsity is None else f"{sparsity:.0%}",
                show(1e3 / median(values)),
                f"{of_dense:.2f}",
                show(memory.state / 1e6),
                f"{memory.state / dense_memory.state:.2f}",
                show(memory.scratch / 1e6),
            ]
        )
    head = [f"{algo}, width", "sparsity", "ms an update", "rate of dense"]
    head += ["state MB", "of dense", "scratch MB"]
    samples = {f"{width} {sparsity}": values for (width, sparsity), values in found.items()}
    return Report((table(head, rows), replays), results, samples)


def scaled_side(config: AgentConfig, updates: int) -> tuple[Side, Memory]:
    """A side that makes `updates` updates in one call and goes on from them; and its memory.

    It begins after an adaptation, which gives targets something to lose (Algorithm 3).
    """
    agent = AGENTS[type(config)](SPACES)
    batch = jax.tree.map(lambda leaf: leaf[0], random_batch(1, config.batch_size))
    key, traced = jax.random.key(0), jax.tree.map(jnp.asarray, config)

    @partial(jax.jit, donate_argnums=1)
    def scan(config: Any, state: State, first: Array) -> State:
        def body(state: State, step: Array) -> tuple[State, None]:
            return agent.update(key, config, state, batch, step)[0], None

        return jax.lax.scan(body, state, first + jnp.arange(updates))[0]

    # Copies: the first targets are the very arrays of the networks, and all are donated.
    state = jax.tree.map(jnp.copy, agent.init(key, traced))
    step = config.sparse.adaptation_period
    compiled = scan.lower(traced, state, jnp.int32(step)).compile()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    analysis: Any = compiled.memory_analysis()
    memory = Memory(size, analysis.temp_size_in_bytes)
    return _going_on(partial(compiled, traced), state, step, updates), memory


def _going_on(scan: Callable[..., State], state: State, step: int, updates: int) -> Side:
    def side() -> float:
        nonlocal state, step
        start = time.perf_counter()
        state = jax.block_until_ready(scan(state, jnp.int32(step)))
        step += updates
        return time.perf_counter() - start

    side()
    return side


def replay_table(envs: tuple[str, ...]) -> str:
    """What a million transitions of each task take in memory, and with each state stored twice."""
    rows = []
    for env in envs:
        spaces = Spaces(*catalog.look_up_sizes(catalog.resolve_id(env)))
        n, k = spaces.observation_size, spaces.action_size
        replay = Replay((0,), TRANSITIONS, n, k)  # Touches no memory until it is filled.
        held = replay.rows.nbytes + replay.final_of.nbytes
        twice = 4 * TRANSITIONS * (2 * n + k + 2)
        rows.append([env, str(n), str(k), show(held / 1e6), show(twice / 1e6)])
    head = [f"replay of {TRANSITIONS:,}", "observation", "action", "MB", "MB, next ones beside"]
    return table(head, rows)


def _config(algo: str, width: int, sparsity: float | None) -> AgentConfig:
    settings: dict[str, Any] = {"hidden_sizes": (width, width)}
    if sparsity is not None:
        settings["sparsity"] = sparsity
    return resolve(ENV, algo, settings=settings).agent


def _updates(at_256: int, width: int) -> int:
    return max(round(at_256 * (WIDTH / width) ** 2), FEWEST)
