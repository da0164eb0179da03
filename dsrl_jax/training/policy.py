"""Loads a trained policy from a run directory."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config import to_json
from dsrl_jax.config.presets import Experiment
from dsrl_jax.training.checkpoints.checkpoint import read_last
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.program import compile_program


@dataclasses.dataclass(frozen=True)
class Policy:
    """`action = policy(observation)`, deterministic.

    spaces: sizes and bounds of the environment that it was trained in
    experiment: the experiment that trained it
    seed, member: the agent's seed, and its number in the run
    env_step: the training step at which it was saved
    """

    spaces: Spaces
    experiment: Experiment
    seed: int
    env_step: int
    act: Callable[[Any], jax.Array] = dataclasses.field(repr=False)
    member: int = 0

    def __call__(self, observation: Any) -> Any:
        """Returns the actions [..., n_action] for observations [..., n_observation], float32.

        JAX arrays give JAX arrays, also under `jit`, `vmap` and `grad`; others give NumPy arrays.

        Raises:
          ValueError: if an observation has another size.
        """
        is_jax = isinstance(observation, jax.Array)
        values = observation if is_jax else np.asarray(observation, np.float32)
        size = self.spaces.observation_size
        if values.ndim < 1 or values.shape[-1] != size:
            raise ValueError(f"observations must be [..., {size}], got shape {values.shape}")
        action = self.act(jnp.asarray(values, jnp.float32))
        return action if is_jax else np.asarray(action)


class _Actor(NamedTuple):
    params: Any


class _ActingState(NamedTuple):
    """The part of an agent's state that acting needs."""

    actor: _Actor


def acting_state(params: Any) -> _ActingState:
    """Returns a state that an agent can act and explore with, from its actor's params."""
    return _ActingState(_Actor(params))


def load_policy(
    run_dir: str | Path,
    *,
    seed: int | None = None,
    member: int | None = None,
    best: bool = False,
) -> Policy:
    """Loads the policy of a run from its last checkpoint; the run may still be training.

    Reads only numbers and JSON: nothing in an untrusted directory is executed, and no environment
    is made.

    Args:
      seed: of the member; may be left out if the run has only one.
      member: its number, from 0, if members share a seed, as in a sweep's batches.
      best: whether to load the policy with the highest mean return of all evaluations so far, in
        place of the last one.
    Raises:
      FrozenMemberError: for the last policy of a member that was frozen.
      ValueError: if there is no such run or member, no checkpoint is whole, or `best` is
        requested before the first evaluation.
    """
    actor = read_actor(run_dir, seed=seed, member=member, best=best)
    config = actor.experiment.agent_of(actor.member)
    agent = AGENTS[type(config)](actor.spaces)
    act = jax.jit(partial(agent.act, config, acting_state(actor.params)))
    return Policy(actor.spaces, actor.experiment, actor.seed, actor.env_step, act, actor.member)


class FrozenMemberError(ValueError):
    """The last policy of a frozen member is asked for, but its weights were set to 0."""


class SavedActor(NamedTuple):
    """One member's actor in a checkpoint; other fields are as in `Policy`."""

    spaces: Spaces
    experiment: Experiment
    seed: int
    member: int
    env_step: int
    params: Any  # NumPy arrays


def read_actor(
    run_dir: str | Path,
    *,
    seed: int | None = None,
    member: int | None = None,
    best: bool = False,
) -> SavedActor:
    """Reads the params of a run's actor; arguments and errors are as in `load_policy`."""
    directory = Path(run_dir)
    experiment, spaces = read_experiment(directory)
    member = _choose_member(experiment, seed, member)
    seed = experiment.seeds[member]
    agent = AGENTS[type(experiment.agent)](spaces)
    program = compile_program(agent, config_of_members(experiment), spaces, experiment.seeds)
    shapes = jax.eval_shape(program.init).state.actor.params
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    saved = read_last(directory / "checkpoints", {"policies": {"last": like, "best": like}})
    if best and saved.record["best_return"][member] == -np.inf:
        raise ValueError(f"seed {seed} has no best policy: {directory} has no evaluation yet")
    frozen_at = saved.record.get("frozen", [-1] * len(experiment.seeds))[member]
    if frozen_at >= 0 and not best:
        raise FrozenMemberError(
            f"member {member}, seed {seed}, is frozen since step {frozen_at:,} and its last policy "
            "cleared: ask for the best one"
        )
    which = "best" if best else "last"
    params = jax.tree.map(lambda leaf: leaf[member], saved.parts["policies"][which])
    step = saved.record["best_step"][member] if best else saved.record["env_step"]
    return SavedActor(spaces, experiment, seed, member, step, params)


def read_experiment(directory: Path) -> tuple[Experiment, Spaces]:
    """Reads the experiment of a run, and the spaces of its environment.

    Raises:
      ValueError: if there is no such run, or its config.json is damaged.
    """
    experiment, config = to_json.read_experiment(directory)
    try:
        low, high = (tuple(map(float, config[name])) for name in ("action_low", "action_high"))
        return experiment, Spaces(int(config["observation_size"]), low, high)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory / 'config.json'} is damaged ({error})") from error


def _choose_member(experiment: Experiment, seed: int | None, member: int | None) -> int:
    """Returns the number of a member. Raises ValueError: there is no such member, or several."""
    seeds = experiment.seeds
    if member is not None:
        if not 0 <= member < len(seeds) or seed not in (None, seeds[member]):
            allowed = f"from 0 to {len(seeds) - 1}, of the seed if one is given"
            raise ValueError(f"member must be {allowed}, got {member}")
        return member
    if seed is None and len(seeds) == 1:
        return 0
    if seed is None and experiment.is_numbered:
        raise ValueError(f"name a member, from 0 to {len(seeds) - 1}: seeds do not identify it")
    if seed not in seeds:
        allowed = ", ".join(map(str, dict.fromkeys(seeds)))
        raise ValueError(f"seed must be one of {allowed}, got {seed}")
    found = [number for number, own in enumerate(seeds) if own == seed]
    if len(found) > 1:
        members = ", ".join(map(str, found))
        raise ValueError(f"seed {seed} has several members, {members}: name one")
    return found[0]
