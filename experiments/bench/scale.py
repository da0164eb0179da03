"""What width and sparsity cost: an update's time and memory, sparse against dense."""

from collections.abc import Mapping
from typing import Any

from dsrl_jax.agents.layers import check_sparsity
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.presets import resolve
from dsrl_jax.envs import catalog
from dsrl_jax.training.host.replay import Replay
from experiments.bench.measure import (
    Report,
    in_turn,
    median,
    medians,
    rates,
    ratio,
    show,
    table,
)
from experiments.bench.workload import ENV, SPACES, Memory, compile_scan, dense_of, scan_side
from experiments.cli.values import UsageError

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
    """Measures an algorithm's updates, and its dense twin's, in turn.

    Raises:
      UsageError: for a sparsity that networks of a width cannot have.
    """
    configs: dict[Place, AgentConfig] = {
        (width, sparsity): _config(algo, width, sparsity)
        for width in widths
        for sparsity in (None, *sparsities)
    }
    scans = {
        place: compile_scan(config, _updates(updates, place[0]))
        for place, config in configs.items()
    }
    seconds = in_turn({place: scan_side(scan) for place, scan in scans.items()}, repetitions)
    memories = {place: scan.memory for place, scan in scans.items()}
    found = {place: rates(taken, _updates(updates, place[0])) for place, taken in seconds.items()}
    return _tell(algo, found, memories, replay_table(envs))


def _tell(
    algo: str,
    found: Mapping[Place, list[float]],
    memories: Mapping[Place, Memory],
    replays: str,
) -> Report:
    """The report of updates a second and memory, each beside the dense twin of its width."""
    results: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    rows = []
    for (width, sparsity), values in found.items():
        of_dense = ratio(values, found[width, None])
        memory, dense_memory = memories[width, sparsity], memories[width, None]
        named = f"{dense_of(algo) if sparsity is None else algo}_{width}_{sparsity or 0}"
        samples[f"{named}_updates_per_second"] = values
        results |= {
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
    return Report((table(head, rows), replays), medians(samples) | results, samples)


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
    if sparsity is None:
        return resolve(ENV, dense_of(algo), settings=settings).agent
    config = resolve(ENV, algo, settings=settings | {"sparsity": sparsity}).agent
    try:
        check_sparsity(SPACES, config)
    except ValueError as error:
        raise UsageError(f"--widths={width}: {error}") from None
    return config


def _updates(at_256: int, width: int) -> int:
    return max(round(at_256 * (WIDTH / width) ** 2), FEWEST)
