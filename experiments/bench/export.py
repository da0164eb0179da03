"""An exported actor: its size, and the time of one action, by NumPy and by JAX, on one core."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dsrl_jax import policy
from dsrl_jax.agents import td3
from dsrl_jax.config.presets import resolve
from dsrl_jax.export import Actor, write_npz
from experiments.bench.measure import Report, Side, in_turn, medians, ratio, spread, table, timed
from experiments.bench.workload import ENV, SPACES

# From which share of connections on a layer is unpacked.
_UNPACKED = {"NumPy dense": 0.0, "NumPy list": 2.0, "NumPy": policy.DENSE_FROM}


def run(repetitions: int, calls: int, sparsities: tuple[float, ...]) -> Report:
    """Measures DS-TD3's actor, untrained, at each sparsity of its weights; dense at 0."""
    sides, sizes = {}, {}
    for sparsity in sparsities:
        text = f"{sparsity:g}"
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "actor.npz"
            act = _make(sparsity, path)
            sizes[text] = path.stat().st_size
            held = {name: policy.load(str(path), share) for name, share in _UNPACKED.items()}
        for name, actor in held.items():
            sides[text, name] = _repeated(partial(policy.act, actor), calls)
        sides[text, "JAX"] = _repeated(act, calls)
    seconds = in_turn(sides, repetitions)
    found = {side: [1e6 * taken / calls for taken in seconds[side]] for side in sides}
    results: dict[str, Any] = {f"{text}_bytes": size for text, size in sizes.items()}
    samples: dict[str, list[float]] = {}
    rows = []
    for (text, name), values in found.items():
        samples[f"{text}_{name.lower().replace(' ', '_')}_microseconds"] = values
        share = f"{ratio(values, found[text, 'JAX']):.2f}"
        rows.append([f"{text} {name}", f"{sizes[text]:,}", *spread(values), share])
    head = ["sparsity, by", "bytes", "microseconds", "lowest", "highest", "of JAX"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def _make(sparsity: float, path: Path) -> Callable[[Any], Any]:
    """Writes an actor and returns the agent's own action function, compiled."""
    settings = {"sparse_layers": ("input", "hidden", "output")}
    if sparsity:
        experiment = resolve(ENV, "ds_td3", settings=settings | {"actor_sparsity": sparsity})
    else:
        experiment = resolve(ENV, "td3")
    config: Any = experiment.agent
    agent = td3.make_agent(SPACES)
    state = jax.jit(agent.init)(jax.random.key(0), config)
    layers = [
        (np.asarray(layer["kernel"]), np.asarray(layer["bias"]))
        for layer in state.actor.params.values()
    ]
    bounds = [np.asarray(bound, np.float32) for bound in (SPACES.action_low, SPACES.action_high)]
    write_npz(path, Actor(layers, *bounds))
    jitted = jax.jit(lambda observation: agent.act(config, state, observation))
    return lambda observation: np.asarray(jitted(observation))


def _repeated(act: Callable[[Any], Any], calls: int) -> Side:
    observation = np.zeros(SPACES.observation_size, np.float32)

    def repeat() -> None:
        for _ in range(calls):
            act(observation)

    repeat()
    return timed(repeat)
