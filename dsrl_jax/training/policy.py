"""The policy of a run directory, as a plain function: what a trained agent is used by."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrl_jax.agents.types import Spaces
from dsrl_jax.presets import Experiment
from dsrl_jax.training.checkpoint import read_last
from dsrl_jax.training.description import from_description, read_description
from dsrl_jax.training.host_loop import to_saved
from dsrl_jax.training.program import compile_program
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.remembered import begin
from dsrl_jax.training.train import AGENTS


@dataclasses.dataclass(frozen=True)
class Policy:
    """`action = policy(observation)`, deterministic.

    spaces: sizes and bounds of the environment that it was trained in
    experiment: what it was trained by
    seed: of the member that it is of
    env_step: when it was as it is
    """

    spaces: Spaces
    experiment: Experiment
    seed: int
    env_step: int
    act: Callable[[Any], jax.Array] = dataclasses.field(repr=False)

    def __call__(self, observation: Any) -> Any:
        """The actions [..., n_action] of observations [..., n_observation], float32.

        JAX arrays of JAX arrays, under `jit`, `vmap` and `grad` too; else NumPy arrays.

        Raises:
          ValueError: if an observation is of another size.
        """
        is_jax = isinstance(observation, jax.Array)
        values = observation if is_jax else np.asarray(observation, np.float32)
        size = self.spaces.observation_size
        if values.ndim < 1 or values.shape[-1] != size:
            raise ValueError(f"observations must be [..., {size}], got shape {values.shape}")
        action = self.act(jnp.asarray(values, jnp.float32))
        return action if is_jax else np.asarray(action)


def load_policy(run_dir: str | Path, *, seed: int | None = None, best: bool = False) -> Policy:
    """The policy of a run, by its last checkpoint; the run may still go on.

    Reads numbers and JSON alone: nothing in a stranger's directory is executed, and no environment
    is made.

    Args:
      seed: which member; may be left out where there is one.
      best: the policy of the highest mean return of all evaluations until then, in place of the
        last one.
    Raises:
      ValueError: if there is no such run, member or whole checkpoint.
    """
    directory = Path(run_dir)
    try:
        held = read_description(directory / "config.json")
    except OSError as error:
        raise ValueError(f"{directory} is no run directory: {error.strerror}") from error
    try:
        experiment = from_description(held)
        low, high = (tuple(map(float, held[name])) for name in ("action_low", "action_high"))
        spaces = Spaces(int(held["observation_size"]), low, high)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory / 'config.json'} is damaged ({error})") from error
    seed = _choose_seed(experiment, seed)
    agent = AGENTS[type(experiment.agent)](spaces)
    program = compile_program(agent, experiment.agent, spaces, experiment.seeds)
    # Of a state the shapes alone are needed, and nothing has to be compiled for them.
    shapes = jax.eval_shape(program.init)
    carry = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    progress = Progress.begin(len(experiment.seeds), spaces.observation_size, spaces.action_size)
    like = to_saved(carry, progress, begin(program, carry)).arrays
    saved = read_last(directory / "checkpoints", like)
    member = experiment.seeds.index(seed)
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[member]), saved.arrays["carry"].state)
    step = saved.record["env_step"]
    if best:
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf[member]), saved.arrays["remembered"].best
        )
        state = state._replace(actor=state.actor._replace(params=params))
        step = saved.record["best_step"][member]

    @jax.jit
    def act(observation: jax.Array) -> jax.Array:
        return agent.act(experiment.agent, state, observation)

    return Policy(spaces, experiment, seed, step, act)


def _choose_seed(experiment: Experiment, seed: int | None) -> int:
    seeds = experiment.seeds
    if seed is None and len(seeds) == 1:
        return seeds[0]
    if seed not in seeds:
        allowed = ", ".join(map(str, seeds))
        raise ValueError(f"seed must be one of {allowed}, got {seed}")
    return seed
