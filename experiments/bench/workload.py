"""The work that benchmarks share: updates in one compiled scan, and whole training runs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Agent, Spaces, State, Transition
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.presets import Experiment, resolve
from dsrl_jax.training import train
from dsrl_jax.training.rows import Row
from experiments.bench.measure import Side, timed
from experiments.bench.peers_sbx import RANDOM_STEPS

ENV = "HalfCheetah-v5"
SPACES = Spaces(17, (-1.0,) * 6, (1.0,) * 6)
BATCHES = 16  # distinct batches that an update cycles through
NEVER = 10**9  # steps or updates: a period that no benchmark reaches
WARM_UP = 1_001  # updates of a run before it is timed; the paper's first adaptation is at 1,000


class Memory(NamedTuple):
    """Bytes of a compiled scan."""

    state: int  # networks, masks, targets and moments, as stored
    scratch: int  # temporary memory while an update runs


class Scan(NamedTuple):
    """Several updates of one or more members in one compiled program."""

    run: Callable[[State, Array], State]  # consumes a state; takes the number of its first update
    state: State
    first: int  # number of the first update; it adapts, so that pruning a target has an effect
    updates: int
    memory: Memory


def dense_of(algo: str) -> str:
    """Returns the dense algorithm that an algorithm is compared with."""
    return algo.split("_")[-1]


def agent_config(algo: str, hidden_sizes: tuple[int, ...], **settings: Any) -> AgentConfig:
    """Returns the paper's settings for HalfCheetah with other hidden sizes and settings."""
    return resolve(ENV, algo, settings={"hidden_sizes": hidden_sizes, **settings}).agent


def make_agent(config: AgentConfig, spaces: Spaces = SPACES) -> Agent:
    """Returns the agent that a config belongs to."""
    return AGENTS[type(config)](spaces)


def compile_scan(
    config: AgentConfig, updates: int, members: int = 1, spaces: Spaces = SPACES
) -> Scan:
    """Compiles `updates` updates of all members on random batches, and draws a first state."""
    agent = make_agent(config, spaces)
    keys = jax.random.split(jax.random.key(0), members)
    init, update = agent.init, agent.update
    if members > 1:
        init, update = jax.vmap(init, (0, None)), jax.vmap(update, (0, None, 0, 0, None))
        batches = random_batches(spaces, BATCHES, members, config.batch_size)
    else:
        keys = keys[0]
        batches = random_batches(spaces, BATCHES, config.batch_size)

    @partial(jax.jit, donate_argnums=2)
    def scan(config: Any, batches: Transition, state: State, first: Array) -> State:
        def body(state: State, step: Array) -> tuple[State, None]:
            batch = jax.tree.map(lambda leaf: leaf[step % BATCHES], batches)
            return update(keys, config, state, batch, step)[0], None

        return jax.lax.scan(body, state, first + jnp.arange(updates))[0]

    traced, batches = jax.tree.map(jnp.asarray, (config, batches))
    # Copies, because networks and first targets share arrays, and each may be donated once only.
    state = jax.tree.map(jnp.copy, jax.jit(init)(keys, traced))
    first = config.sparse.adaptation_period
    compiled = scan.lower(traced, batches, state, jnp.int32(first)).compile()
    analysis: Any = compiled.memory_analysis()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    memory = Memory(state_bytes, analysis.temp_size_in_bytes)
    return Scan(partial(compiled, traced, batches), state, first, updates, memory)


def scan_side(scan: Scan) -> Side:
    """Returns a side that runs a scan once more, from the state that the last run returned.

    It has run once, starting with an update that adapts. If a scan has as many updates as the
    adaptation period, 1,000 by default, every measurement contains one adaptation.
    """
    state, step = scan.state, scan.first

    def run() -> None:
        nonlocal state, step
        state = jax.block_until_ready(scan.run(state, jnp.int32(step)))
        step += scan.updates

    run()
    return timed(run)


def random_batches(spaces: Spaces, *shape: int) -> Transition:
    """Draws NumPy transitions with leading axes `shape`, as of a normalized environment."""
    draw = np.random.default_rng(0)

    never: Any = np.zeros(shape, np.float32)

    def normal(*sizes: int) -> Any:
        return draw.normal(size=(*shape, *sizes)).astype(np.float32)

    return Transition(
        observation=normal(spaces.observation_size),
        action=np.tanh(normal(spaces.action_size)),
        reward=normal(),
        terminated=never,
        next_observation=normal(spaces.observation_size),
    )


def endless_run(env_id: str, algo: str, settings: dict[str, Any]) -> Experiment:
    """Returns an experiment without an end that evaluates once, at its start, with one episode."""
    loop = {
        "steps": NEVER,
        "eval_period": NEVER,
        "eval_episodes": 1,
        "start_steps": RANDOM_STEPS,
        "update_after": RANDOM_STEPS,
        "replay_size": 1_000_000,
    }
    return resolve(env_id, algo, settings=loop | settings)


def start_run(experiment: Experiment, warm_up: int | None = None) -> Iterator[Row]:
    """Trains up to the first training row after `warm_up` updates; returns the remaining rows.

    Args:
      warm_up: `WARM_UP` by default.
    """
    warm_up = WARM_UP if warm_up is None else warm_up
    rows = train.run(experiment)
    next(row for row in rows if row["kind"] == "training" and row["updates"] >= warm_up)
    return rows


def row_side(rows: Iterator[Row], kind: str) -> Side:
    """Returns a side that trains until the run's next row of a kind."""
    return timed(lambda: next(row for row in rows if row["kind"] == kind))


def loop_side(
    env_id: str, algo: str, steps: int, settings: dict[str, Any], warm_up: int | None = None
) -> Side:
    """Returns a side that trains for the next `steps` steps of one run; see `start_run`."""
    experiment = endless_run(env_id, algo, {"log_period": steps, **settings})
    return row_side(start_run(experiment, warm_up), "training")
