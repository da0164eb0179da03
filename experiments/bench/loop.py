"""What a training step costs beside its update: the call, the environment, the whole loop."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.agents.config import AgentConfig
from dsrl_jax.agents.registry import AGENTS
from dsrl_jax.agents.types import Agent, Spaces, State
from dsrl_jax.envs import catalog
from dsrl_jax.presets import Experiment, resolve
from dsrl_jax.training import train
from dsrl_jax.training.program import Program, compile_program, unpack
from dsrl_jax.training.replay import Replay
from experiments.bench.measure import Report, Side, in_turn, median, rates, ratio, spread, table

NEVER = 1_000_000_000
STORED = 10_000  # transitions in a replay that is sampled from
RANDOM_STEPS = 1_000  # at the start of a whole loop

# What is measured of each algorithm; the environment's step belongs to all.
PARTS = ("scan", "call", "loop")
UNITS = {
    "scan": "scan_updates_per_second",
    "call": "calls_per_second",
    "loop": "loop_steps_per_second",
}


def run(
    repetitions: int, steps: int, env: str, algos: tuple[str, ...], hidden_sizes: tuple[int, ...]
) -> Report:
    """Measures every part of every algorithm in turn; one step is one update."""
    env, settings = catalog.resolve_id(env), {"hidden_sizes": hidden_sizes}
    sides: dict[tuple[str, str], Side] = {("", "environment"): environment_side(env, steps)}
    for algo in algos:
        parts = Parts(resolve(env, algo, settings=settings))
        sides[algo, "scan"] = parts.scan_side(steps)
        sides[algo, "call"] = parts.call_side(steps)
        sides[algo, "loop"] = loop_side(env, algo, steps, settings)
    seconds = in_turn(sides, repetitions)

    environment = rates(seconds["", "environment"], steps)
    results = {"environment_steps_per_second": median(environment)}
    samples = {"environment_steps_per_second": environment}
    rows = [["", "environment alone", *spread(environment), "", ""]]
    for algo in algos:
        found = {part: rates(seconds[algo, part], steps) for part in PARTS}
        named = {f"{algo}_{UNITS[part]}": values for part, values in found.items()}
        samples |= named
        results |= {name: median(values) for name, values in named.items()}
        of_scan = ratio(found["call"], found["scan"])
        of_parts = median(found["loop"]) * (1 / median(found["scan"]) + 1 / median(environment))
        results |= {f"{algo}_call_over_scan": of_scan, f"{algo}_loop_over_parts": of_parts}
        rows += [
            [algo, "update in a scan", *spread(found["scan"]), "1", ""],
            [algo, "one call a step, replay", *spread(found["call"]), f"{of_scan:.2f}", ""],
            [
                algo,
                "whole loop",
                *spread(found["loop"]),
                f"{ratio(found['loop'], found['scan']):.2f}",
                f"{of_parts:.2f}",
            ],
        ]
    head = ["method", "part", "steps/s", "lowest", "highest", "of scan", "of scan + environment"]
    return Report((table(head, rows),), results, samples)


def environment_side(env_id: str, steps: int) -> Side:
    """A side that takes random actions; drawing them is not counted."""
    environment = catalog.make(env_id)
    space: Any = environment.action_space
    actions = np.random.default_rng(0).uniform(space.low, space.high, (steps, *space.shape))
    actions = actions.astype(np.float32)
    environment.reset(seed=0)

    def side() -> float:
        start = time.perf_counter()
        for action in actions:
            *_, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()
        return time.perf_counter() - start

    side()
    return side


class Parts:
    """One member of an experiment, and a replay with random transitions to train it on."""

    def __init__(self, experiment: Experiment):
        self.config: AgentConfig = experiment.agent
        self.spaces = Spaces(*catalog.look_up_sizes(experiment.env))
        self.agent: Agent = AGENTS[type(self.config)](self.spaces)
        self.seeds = experiment.seeds
        self.program: Program = compile_program(self.agent, self.config, self.spaces, self.seeds)
        self.replay = random_replay(self.spaces, self.seeds)
        # The first update measured comes after an adaptation, which gives targets something to
        # lose (Algorithm 3).
        self.first_update = self.config.sparse.adaptation_period

    def scan_side(self, steps: int) -> Side:
        """A side that makes `steps` updates in one call, on batches of the replay; it goes on."""
        agent, spaces, key = self.agent, self.spaces, jax.random.key(0)

        @partial(jax.jit, donate_argnums=1)
        def scan(config: Any, state: State, packed: Array, first: Array) -> State:
            def body(state: State, given: tuple[Array, Array]) -> tuple[State, None]:
                batch, step = unpack(given[0], spaces), given[1]
                return agent.update(key, config, state, batch, step)[0], None

            return jax.lax.scan(body, state, (packed, first + jnp.arange(steps)))[0]

        config = jax.tree.map(jnp.asarray, self.config)
        # Copies, as the first targets are the very arrays of the networks, and all are donated.
        state = jax.tree.map(jnp.copy, agent.init(key, config))
        update = self.first_update
        batches = [self.replay.sample(self.config.batch_size, step)[0] for step in range(steps)]
        packed = jax.device_put(np.stack(batches))

        def side() -> float:
            nonlocal state, update
            start = time.perf_counter()
            state = jax.block_until_ready(scan(config, state, packed, update))
            update += steps
            return time.perf_counter() - start

        side()
        return side

    def call_side(self, steps: int) -> Side:
        """A side that samples, updates and reads the next action `steps` times; it goes on."""
        carry, update = self.program.compact(self.program.init()), self.first_update
        observation = np.zeros((len(self.seeds), self.spaces.observation_size), np.float32)

        def side() -> float:
            nonlocal carry, update
            start = time.perf_counter()
            for _ in range(steps):
                packed = self.replay.sample(self.config.batch_size, update)
                carry, action = self.program.step(
                    carry, packed, observation, np.int32(update), np.int32(update + 1)
                )
                np.array(action)
                update += 1
            return time.perf_counter() - start

        side()
        return side


def random_replay(spaces: Spaces, seeds: tuple[int, ...], stored: int = STORED) -> Replay:
    """A replay with `stored` transitions of one endless episode."""
    replay = Replay(seeds, stored, spaces.observation_size, spaces.action_size)
    draw, members = np.random.default_rng(0), len(seeds)
    never = np.zeros(members, bool)
    following = draw.normal(size=(members, spaces.observation_size))
    for _ in range(stored):
        observation, following = following, draw.normal(size=following.shape)
        action = draw.uniform(spaces.action_low, spaces.action_high, (members, spaces.action_size))
        replay.add(observation, action, draw.normal(size=members), never, never, following)
    return replay


def loop_side(env_id: str, algo: str, steps: int, settings: dict[str, Any]) -> Side:
    """A side that trains for the next `steps` steps of one run."""
    seconds = training_seconds(env_id, algo, steps, settings)
    next(seconds)  # With what comes before, and what is compiled.
    return lambda: next(seconds)


def training_seconds(
    env_id: str, algo: str, steps: int, settings: dict[str, Any]
) -> Iterator[float]:
    """Seconds between rows of training, every `steps` steps, of a run without evaluations.

    It has one, of one episode, at its start. The first value comes after the first adaptation,
    and counts everything from the start.
    """
    only = {
        "steps": NEVER,
        "eval_period": NEVER,
        "eval_episodes": 1,
        "log_period": steps,
        "start_steps": RANDOM_STEPS,
        "update_after": RANDOM_STEPS,
        "replay_size": 1_000_000,
    }
    experiment = resolve(env_id, algo, settings=only | settings)
    start = time.perf_counter()
    for row in train.run(experiment):
        warm = row.get("updates", 0) > experiment.agent.sparse.adaptation_period
        if row["kind"] == "training" and warm:
            yield time.perf_counter() - start
            start = time.perf_counter()
