"""Whole loops: what a step costs apart from its update, and evaluations."""

import dataclasses
from functools import partial
from typing import Any, SupportsFloat

import gymnasium
import jax
import numpy as np
from jaxtyping import Array

from dsrl_jax.agents.types import Spaces, State, Transition
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import resolve
from dsrl_jax.envs import catalog
from experiments.bench.measure import (
    Report,
    Side,
    in_turn,
    median,
    medians,
    rates,
    ratio,
    spread,
    table,
    timed,
)
from experiments.bench.workload import (
    BATCHES,
    compile_scan,
    endless_run,
    loop_side,
    make_agent,
    random_batches,
    row_side,
    scan_side,
    start_run,
)

# By part of a step: its name in the table, and its rate in the results.
PARTS = {
    "scan": ("update in a scan", "scan_updates_per_second"),
    "call": ("update and action, one call a step", "calls_per_second"),
    "loop": ("whole loop", "loop_steps_per_second"),
}


def loop(
    repetitions: int, steps: int, env: str, algos: tuple[str, ...], hidden_sizes: tuple[int, ...]
) -> Report:
    """Measures the parts of a training step, with one update a step, for every algorithm."""
    env_id, settings = catalog.resolve_id(env), {"hidden_sizes": hidden_sizes}
    spaces = Spaces(*catalog.look_up_sizes(env_id))
    sides: dict[tuple[str, str], Side] = {("", "environment"): environment_side(env_id, steps)}
    for algo in algos:
        config = resolve(env_id, algo, settings=settings).agent
        sides[algo, "scan"] = scan_side(compile_scan(config, steps, spaces=spaces))
        sides[algo, "call"] = call_side(config, spaces, steps)
        sides[algo, "loop"] = loop_side(env_id, algo, steps, settings)
    found = {side: rates(s, steps) for side, s in in_turn(sides, repetitions).items()}

    environment = found["", "environment"]
    samples = {"environment_steps_per_second": environment}
    results: dict[str, float] = {}
    rows = [["", "environment", *spread(environment), "", ""]]
    for algo in algos:
        scan, whole = found[algo, "scan"], found[algo, "loop"]
        of_parts = median(whole) * (1 / median(scan) + 1 / median(environment))
        for part, (text, unit) in PARTS.items():
            samples[f"{algo}_{unit}"] = found[algo, part]
            of_scan = f"{ratio(found[algo, part], scan):.2f}"
            last = f"{of_parts:.2f}" if part == "loop" else ""
            rows.append([algo, text, *spread(found[algo, part]), of_scan, last])
        results[f"{algo}_call_over_scan"] = ratio(found[algo, "call"], scan)
        results[f"{algo}_loop_over_parts"] = of_parts
    head = ["method", "part", "steps/s", "lowest", "highest", "of scan", "of scan + environment"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def call_side(config: AgentConfig, spaces: Spaces, steps: int) -> Side:
    """Returns a side that updates and reads the next action `steps` times, with a call each."""
    agent, key = make_agent(config, spaces), jax.random.key(0)
    drawn = random_batches(spaces, BATCHES, config.batch_size)
    batches = [Transition(*leaves) for leaves in zip(*drawn, strict=True)]
    observation = np.zeros(spaces.observation_size, np.float32)

    @partial(jax.jit, donate_argnums=1)
    def step(
        config: Any, state: State, batch: Transition, observation: Array, update: Array
    ) -> tuple[State, Array]:
        state, _ = agent.update(key, config, state, batch, update)
        return state, agent.explore(jax.random.fold_in(key, update), config, state, observation)

    traced = jax.device_put(jax.tree.map(np.asarray, config))
    # Copies, because networks and first targets share arrays, and each may be donated once only.
    state = jax.tree.map(jax.numpy.copy, jax.jit(agent.init)(key, traced))
    update = config.sparse.adaptation_period

    def run() -> None:
        nonlocal state, update
        for _ in range(steps):
            batch = batches[update % BATCHES]
            state, action = step(traced, state, batch, observation, np.int32(update))
            np.asarray(action)
            update += 1

    run()
    return timed(run)


def environment_side(env_id: str, steps: int) -> Side:
    """Returns a side that takes `steps` random actions, drawn beforehand."""
    environment = catalog.make(env_id)
    space: Any = environment.action_space
    actions = np.random.default_rng(0).uniform(space.low, space.high, (steps, *space.shape))
    actions = actions.astype(np.float32)
    environment.reset(seed=0)

    def run() -> None:
        for action in actions:
            *_, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()

    run()
    return timed(run)


def evaluation(
    repetitions: int,
    steps: int,
    episodes: int,
    envs: tuple[str, ...],
    algo: str,
    hidden_sizes: tuple[int, ...],
) -> Report:
    """Measures an evaluation of every task and the `steps` steps of training between two."""
    settings = {"hidden_sizes": hidden_sizes, "log_period": steps, "eval_period": steps}
    sides: dict[tuple[str, str], Side] = {}
    for env in envs:
        experiment = endless_run(
            catalog.resolve_id(env), algo, settings | {"eval_episodes": episodes}
        )
        rows = start_run(dataclasses.replace(experiment, env=never_terminating(experiment.env)))
        # A training row is followed by an evaluation, which a timing row ends: keep this order.
        sides[env, "evaluation"] = row_side(rows, "timing")
        sides[env, "loop"] = row_side(rows, "training")
    seconds = in_turn(sides, repetitions)
    results: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    lines = []
    for env in envs:
        found, speed = seconds[env, "evaluation"], rates(seconds[env, "loop"], steps)
        share = evaluation_share(median(found), median(speed))
        samples |= {f"{env}_evaluation_seconds": found, f"{env}_loop_steps_per_second": speed}
        results[f"{env}_evaluation_share"] = share
        lines.append([env, *spread(found), spread(speed)[0], f"{share:.3f}"])
    head = [f"{algo}, {episodes} episodes", "seconds", "lowest", "highest"]
    head += ["loop steps/s", "share of a run"]
    return Report((table(head, lines),), medians(samples) | results, samples)


def evaluation_share(
    evaluation_seconds: float, steps_per_second: float, loop: LoopConfig | None = None
) -> float:
    """Returns the share of a run's time that evaluations take, the one at step 0 included."""
    loop = loop or LoopConfig()
    evaluating = (loop.steps // loop.eval_period + 1) * evaluation_seconds
    return evaluating / (evaluating + loop.steps / steps_per_second)


def never_terminating(env_id: str) -> str:
    """Registers the environment inside `NeverTerminates`, and returns the id of that."""
    name = f"bench/{env_id.rpartition(':')[2]}"

    def make(**_: Any) -> gymnasium.Env:
        return NeverTerminates(catalog.make(env_id))

    gymnasium.register(name, make)
    return name


class NeverTerminates(gymnasium.Wrapper):
    """Ends episodes only at their time limit, as they usually end with a trained agent.

    An untrained agent falls at once, which would make evaluations short. When an episode would
    terminate, the state is reset and the episode continues; the reset is timed too.
    """

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """Takes a step that is never terminal."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated and not truncated:
            observation, _ = self.env.unwrapped.reset()
        return observation, reward, False, truncated, info
