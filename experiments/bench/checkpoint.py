"""What checkpoints cost a run, and what going on from one costs, by how much the replay holds."""

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.envs import catalog
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints, Saved
from dsrl_jax.training.history import begin
from dsrl_jax.training.host.backend import to_saved
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from dsrl_jax.training.program import compile_program
from dsrl_jax.training.progress import Progress
from experiments.bench.measure import (
    MeasurementError,
    Report,
    in_turn,
    median,
    rates,
    show,
    spread,
    table,
)
from experiments.bench.whole_loop import loop_side

EPISODE = 1000  # steps
BOUND = 0.05  # of a run's time may go into checkpoints
TABLES = ("evaluations.csv", "training.csv", "topology.csv")


class Costs(NamedTuple):
    """Of one environment and size."""

    seconds: list[float]  # of each checkpoint
    written: int  # bytes that one brings to the disk: its own, and the replay's since the last one
    held: int  # bytes of the replay's files
    restore_seconds: float  # of reading it all again


def run(
    repetitions: int,
    steps: int,
    envs: tuple[str, ...],
    algo: str,
    stored: tuple[int, ...],
    period: int,
) -> Report:
    """Measures checkpoints of every environment and size, each `period` transitions apart.

    And `steps` steps of each environment's loop, which evaluates nothing and saves nothing: of
    that and a checkpoint every `period` steps, the checkpoint's share is told.
    """
    rows: list[list[str]] = []
    results: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    for env in envs:
        env_id = catalog.resolve_id(env)
        seconds = in_turn({env: loop_side(env_id, algo, steps, {})}, repetitions)[env]
        samples[f"{env}_loop_steps_per_second"] = rates(seconds, steps)
        speed = median(samples[f"{env}_loop_steps_per_second"])
        results[f"{env}_loop_steps_per_second"] = speed
        for size in stored:
            experiment = resolve(env_id, algo, settings={"steps": size})
            costs = measure(experiment, repetitions, size, min(period, size))
            share = checkpoint_share(median(costs.seconds), period, speed)
            at_bound = BOUND / (1 - BOUND) * period / median(costs.seconds)
            found = {
                "checkpoint_seconds": median(costs.seconds),
                "checkpoint_bytes": costs.written,
                "replay_bytes": costs.held,
                "restore_seconds": costs.restore_seconds,
                "checkpoint_share": share,
                "steps_per_second_at_bound": at_bound,
            }
            name = f"{env}_{size}"
            results |= {f"{name}_{unit}": value for unit, value in found.items()}
            samples[f"{name}_checkpoint_seconds"] = costs.seconds
            sizes = [f"{costs.written / 1e6:.1f}", f"{costs.held / 1e6:,.0f}"]
            told = [*sizes, show(costs.restore_seconds), show(speed), f"{share:.1%}"]
            rows.append([f"{env}, {size:,} stored", *spread(costs.seconds), *told, show(at_bound)])
    head = [f"{algo}, every {period:,} steps", "seconds", "lowest", "highest", "MB", "replay MB"]
    head += ["seconds to restore", "loop steps/s", "share of a run", f"steps/s at {BOUND:.0%}"]
    return Report((table(head, rows),), results, samples)


def checkpoint_share(seconds: float, period: int, steps_per_second: float) -> float:
    """Which part of a run's time goes into checkpoints of so many seconds, one every period."""
    return seconds / (seconds + period / steps_per_second)


def measure(experiment: Experiment, repetitions: int, stored: int, period: int) -> Costs:
    """Checkpoints of a run that has stored about that much.

    Raises:
      MeasurementError: if there is no room for its replay.
    """
    spaces = Spaces(*catalog.look_up_sizes(experiment.env))
    row = 4 * (spaces.observation_size + spaces.action_size + 3)
    with tempfile.TemporaryDirectory(prefix="dsrl_jax_bench_") as place:
        needed, free = row * (stored + repetitions * period), shutil.disk_usage(place).free
        if needed > free // 2:
            raise MeasurementError(
                f"{place} has {free / 1e9:.1f} GB free, half of it must hold {needed / 1e9:.1f}: "
                "name a smaller --stored, or another TMPDIR"
            )
        state = _state(experiment, spaces)
        checkpoints, directory = _open(experiment, spaces, Path(place), 1), Path(place)
        step = stored - period
        _write(checkpoints, spaces, step)
        checkpoints.save(step, state())
        seconds = []
        for _ in range(repetitions):
            _write(checkpoints, spaces, period)
            step += period
            start = time.perf_counter()
            checkpoints.save(step, state())
            seconds.append(time.perf_counter() - start)
        checkpoints.close()
        own = _bytes(directory / "checkpoints" / str(step))
        again, like = _open(experiment, spaces, directory, step), state().parts
        start = time.perf_counter()
        again.restore(like)
        restored = time.perf_counter() - start
        again.close()
        return Costs(seconds, own + period * row, _bytes(directory / "replay"), restored)


def _state(experiment: Experiment, spaces: Spaces) -> Callable[[], Saved]:
    """Gives what a run saves after a few updates: before them, most is zeros and packs well."""
    agent = AGENTS[type(experiment.agent)](spaces)
    program = compile_program(agent, experiment.agent, spaces, experiment.seeds)
    replay = Replay(experiment.seeds, 1, spaces.observation_size, spaces.action_size)
    draw = np.random.default_rng(0)
    batch = draw.normal(size=replay.empty_batch(experiment.agent.batch_size).shape)
    progress = Progress.begin(1, spaces.observation_size, spaces.action_size)
    carry = program.compact(program.init())
    for update in range(1, 5):
        carry, _ = program.step(
            carry, np.float32(batch), progress.observation, np.int32(update), np.int32(update)
        )
    carry = jax.block_until_ready(program.expand(carry))
    return partial(to_saved, program, carry, progress, begin(program, carry))


def _open(experiment: Experiment, spaces: Spaces, place: Path, capacity: int) -> Checkpoints:
    sizes = spaces.observation_size, spaces.action_size
    replay = Replay(experiment.seeds, capacity, *sizes)
    replay_file, tables = ReplayFile(place / "replay", replay), (place / name for name in TABLES)
    return Checkpoints(place / "checkpoints", replay_file, tuple(tables))


def _write(checkpoints: Checkpoints, spaces: Spaces, steps: int) -> None:
    """Appends random transitions, of one member, with an end every `EPISODE`; a row to a table."""
    for path in checkpoints.tables:
        with path.open("a") as file:
            file.write("0,0.123456789012345678\n")
    draw = np.random.default_rng(0)
    sizes = spaces.observation_size, spaces.action_size
    observations, actions = (draw.normal(size=(EPISODE, 1, size)) for size in sizes)
    for step in range(steps):
        here = step % EPISODE
        ends = np.array([here == EPISODE - 1])
        following = observations[(here + 1) % EPISODE]
        reward = np.zeros(1)
        checkpoints.replay_file.add(
            observations[here], actions[here], reward, ends & False, ends, following
        )


def _bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
