"""What is measured: updates in one compiled scan, with HalfCheetah's sizes and paper settings."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.agents.config import AgentConfig
from dsrl_jax.agents.registry import AGENTS
from dsrl_jax.agents.types import Spaces, State, Transition
from dsrl_jax.presets import resolve
from experiments.bench.measure import Side, timed

ENV = "HalfCheetah-v5"
SPACES = Spaces(17, (-1.0,) * 6, (1.0,) * 6)


class Memory(NamedTuple):
    """Bytes of what is trained."""

    state: int  # networks, masks, targets and moments, as they are stored
    scratch: int  # beside it, while an update runs


def agent_config(
    algo: str, hidden_sizes: tuple[int, ...], period: int | None = None
) -> AgentConfig:
    """The paper's settings, but for the networks' sizes, and updates between two adaptations."""
    settings: dict[str, Any] = {"hidden_sizes": hidden_sizes}
    if period:
        settings["adaptation_period"] = period
    return resolve(ENV, algo, settings=settings).agent


def scan_side(
    algo: str,
    updates: int,
    hidden_sizes: tuple[int, ...],
    members: int = 1,
    period: int | None = None,
) -> Side:
    """A side that makes `updates` updates of all members in one call, always the same ones.

    They begin one adaptation and `updates` updates after the start: from then on targets have
    connections to lose (Algorithm 3). With the period's length, 1000 by default, one adaptation
    is among those measured; with a part of it, none.
    """
    return scan_of_members(algo, updates, hidden_sizes, members, period)[0]


def scan_of_members(
    algo: str,
    updates: int,
    hidden_sizes: tuple[int, ...],
    members: int,
    period: int | None = None,
) -> tuple[Side, Memory]:
    """The side that `scan_side` tells of, and the memory of all members."""
    config = agent_config(algo, hidden_sizes, period)
    agent = AGENTS[type(config)](SPACES)
    batch, key = (
        random_batch(members, config.batch_size),
        jax.random.split(jax.random.key(0), members),
    )
    init, update = agent.init, agent.update
    if members > 1:
        init = jax.jit(jax.vmap(init, (0, None)))
        update = jax.vmap(update, (0, None, 0, 0, None))
    else:
        batch, key = jax.tree.map(lambda leaf: leaf[0], (batch, key))

    @jax.jit
    def scan(config: Any, state: State, first: Array) -> State:
        def body(state: State, step: Array) -> tuple[State, None]:
            return update(key, config, state, batch, step)[0], None

        return jax.lax.scan(body, state, first + jnp.arange(updates))[0]

    traced = jax.tree.map(jnp.asarray, config)
    first = config.sparse.adaptation_period
    state = init(key, traced)
    compiled = scan.lower(traced, state, jnp.int32(first)).compile()
    analysis: Any = compiled.memory_analysis()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    state = jax.block_until_ready(compiled(traced, state, jnp.int32(first)))
    following = jnp.int32(first + updates)
    side = timed(lambda: jax.block_until_ready(compiled(traced, state, following)))
    return side, Memory(size, analysis.temp_size_in_bytes)


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
