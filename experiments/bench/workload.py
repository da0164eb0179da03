"""What is measured: updates in one compiled scan, with HalfCheetah's sizes and paper settings."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Spaces, State, Transition
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.presets import resolve
from experiments.bench.measure import Side, timed

ENV = "HalfCheetah-v5"
SPACES = Spaces(17, (-1.0,) * 6, (1.0,) * 6)
BATCHES = 16  # different ones, again and again: an update takes as long as with new ones


class Memory(NamedTuple):
    """Bytes of what is trained."""

    state: int  # networks, masks, targets and moments, as they are stored
    scratch: int  # beside it, while an update runs


class Scan(NamedTuple):
    """Updates of one or several members in one compiled program."""

    run: Callable[[State, Array], State]  # from a state, given away, and the first one's number
    state: State
    first: int  # the number of an update that adapts: after it targets have something to lose
    updates: int
    memory: Memory
    program: str


def dense_of(algo: str) -> str:
    """The dense algorithm that an algorithm is compared with."""
    return algo.split("_")[-1]


def agent_config(
    algo: str, hidden_sizes: tuple[int, ...], period: int | None = None
) -> AgentConfig:
    """The paper's settings, but for the networks' sizes, and updates between two adaptations."""
    settings: dict[str, Any] = {"hidden_sizes": hidden_sizes}
    if period:
        settings["adaptation_period"] = period
    return resolve(ENV, algo, settings=settings).agent


def compile_scan(
    config: AgentConfig,
    updates: int,
    members: int = 1,
    spaces: Spaces = SPACES,
    batches: Any = None,
    read: Callable[[Any], Transition] = lambda batch: batch,
) -> Scan:
    """Compiles `updates` updates of all members, each with its batch, and draws a first state.

    Args:
      batches: what `read` makes a batch of, along a leading axis; when that ends they come again.
        Random ones by default.
    """
    agent = AGENTS[type(config)](spaces)
    keys = jax.random.split(jax.random.key(0), members)
    init, update = agent.init, agent.update
    if members > 1:
        init, update = jax.vmap(init, (0, None)), jax.vmap(update, (0, None, 0, 0, None))
    else:
        keys = keys[0]
    if batches is None:
        axes = (BATCHES, members) if members > 1 else (BATCHES,)
        batches = random_batch(*axes, config.batch_size)
    different = len(jax.tree.leaves(batches)[0])

    @partial(jax.jit, donate_argnums=2)
    def scan(config: Any, batches: Any, state: State, first: Array) -> State:
        def body(state: State, step: Array) -> tuple[State, None]:
            batch = read(jax.tree.map(lambda leaf: leaf[step % different], batches))
            return update(keys, config, state, batch, step)[0], None

        return jax.lax.scan(body, state, first + jnp.arange(updates))[0]

    traced = jax.tree.map(jnp.asarray, config)
    first = config.sparse.adaptation_period
    # Copies: the first targets are the very arrays of the networks, and all are given away.
    state = jax.tree.map(jnp.copy, jax.jit(init)(keys, traced))
    compiled = scan.lower(traced, batches, state, jnp.int32(first)).compile()
    analysis: Any = compiled.memory_analysis()
    memory = Memory(
        sum(leaf.nbytes for leaf in jax.tree.leaves(state)), analysis.temp_size_in_bytes
    )
    run = partial(compiled, traced, batches)
    return Scan(run, state, first, updates, memory, compiled.as_text() or "")


def scan_side(scan: Scan) -> Side:
    """A side that makes a scan's updates and goes on from them.

    It has run once, from an adaptation on. With the period's length of updates, 1000 by default,
    one adaptation is among those measured; with a part of it, none or one.
    """
    state, step = scan.state, scan.first

    def run() -> None:
        nonlocal state, step
        state = jax.block_until_ready(scan.run(state, jnp.int32(step)))
        step += scan.updates

    run()
    return timed(run)


def random_batch(*shape: int) -> Transition:
    """Transitions that look like a normalized environment's, of leading axes `shape`."""
    draw = np.random.default_rng(0)

    def normal(*sizes: int) -> Array:
        return jnp.asarray(draw.normal(size=(*shape, *sizes)), jnp.float32)

    return Transition(
        observation=normal(SPACES.observation_size),
        action=jnp.tanh(normal(SPACES.action_size)),
        reward=normal(),
        terminated=jnp.zeros(shape),
        next_observation=normal(SPACES.observation_size),
    )
