"""The policy of a run directory, as a plain function: what a trained agent is used by."""

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
from dsrl_jax.training import initial_policy
from dsrl_jax.training.checkpoints.checkpoint import RestoreError, read_last
from dsrl_jax.training.member_axis import config_of_members, over_members
from dsrl_jax.training.program import compile_program, make_keys


@dataclasses.dataclass(frozen=True)
class Policy:
    """`action = policy(observation)`, deterministic.

    spaces: sizes and bounds of the environment that it was trained in
    experiment: what it was trained by
    seed, member: of the member that it is of
    env_step: when it was as it is
    """

    spaces: Spaces
    experiment: Experiment
    seed: int
    env_step: int
    act: Callable[[Any], jax.Array] = dataclasses.field(repr=False)
    member: int = 0

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


class _Actor(NamedTuple):
    params: Any


class _Acting(NamedTuple):
    """As much of an agent's state as acting needs."""

    actor: _Actor


def load_policy(
    run_dir: str | Path,
    *,
    seed: int | None = None,
    member: int | None = None,
    best: bool = False,
) -> Policy:
    """The policy of a run, by its last checkpoint; the run may still go on.

    Reads numbers and JSON alone: nothing in a stranger's directory is executed, and no environment
    is made.

    Args:
      seed: which member; may be left out where there is one.
      member: its number, from 0, where members share a seed, as in a sweep's batches.
      best: the policy of the highest mean return of all evaluations until then, in place of the
        last one.
    Raises:
      FrozenMemberError: for the last policy of a member that was frozen.
      ValueError: if there is no such run, member or whole checkpoint, or no evaluation to tell
        the best by.
    """
    held = read_actor(run_dir, seed=seed, member=member, best=best)
    config = held.experiment.agent_of(held.member)
    agent = AGENTS[type(config)](held.spaces)
    state = _Acting(_Actor(held.params))
    act = jax.jit(partial(agent.act, config, state))
    return Policy(held.spaces, held.experiment, held.seed, held.env_step, act, held.member)


class FrozenMemberError(ValueError):
    """A member's last policy, after its weights were cleared for what was not finite."""


class HeldActor(NamedTuple):
    """One member's actor, as a checkpoint holds it; else as in `Policy`."""

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
) -> HeldActor:
    """The params of a run's actor; arguments and errors as in `load_policy`."""
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
        raise ValueError(f"seed {seed} has no best policy: {directory} holds no evaluation yet")
    frozen_at = saved.record.get("frozen", [-1] * len(experiment.seeds))[member]
    if frozen_at >= 0 and not best:
        raise FrozenMemberError(
            f"member {member}, seed {seed}, is frozen since step {frozen_at:,} and its last policy "
            "cleared: ask for the best one"
        )
    which = "best" if best else "last"
    params = jax.tree.map(lambda leaf: leaf[member], saved.parts["policies"][which])
    step = saved.record["best_step"][member] if best else saved.record["env_step"]
    return HeldActor(spaces, experiment, seed, member, step, params)


def read_experiment(directory: Path) -> tuple[Experiment, Spaces]:
    """What a run was trained by, and in.

    Raises:
      ValueError: if there is no such run, or its config.json is damaged.
    """
    experiment, held = to_json.read_experiment(directory)
    try:
        low, high = (tuple(map(float, held[name])) for name in ("action_low", "action_high"))
        return experiment, Spaces(int(held["observation_size"]), low, high)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory / 'config.json'} is damaged ({error})") from error


def compile_initial_policy(experiment: Experiment, spaces: Spaces) -> Callable[..., jax.Array]:
    """The first steps' actions of an experiment that starts from a trained policy.

    The policy explores as it did in its own training. Each member draws noise of its own, by the
    keys that its own exploration takes later.

    Returns:
      (step, observations [members, n]) -> actions [members, k].
    Raises:
      RestoreError: if its directory no longer holds that policy.
    """
    origin = experiment.initial_policy
    assert origin
    held = read_actor(origin.directory)
    if initial_policy.describe(held, origin.directory) != origin:
        raise RestoreError(f"initial_policy {origin.directory} has changed: its run went on")
    config, state = held.experiment.agent_of(held.member), _Acting(_Actor(held.params))
    agent = AGENTS[type(config)](spaces)
    keys = make_keys(experiment.seeds).explore

    def one(key: jax.Array, env_step: jax.Array, observation: jax.Array) -> jax.Array:
        return agent.explore(jax.random.fold_in(key, env_step), config, state, observation)

    return jax.jit(partial(over_members(one, (0, None, 0), len(experiment.seeds)), keys))


def _choose_member(experiment: Experiment, seed: int | None, member: int | None) -> int:
    """The number of a member, by that or by its seed. Raises ValueError: there is none, or more."""
    seeds = experiment.seeds
    if member is not None:
        if not 0 <= member < len(seeds) or seed not in (None, seeds[member]):
            allowed = f"from 0 to {len(seeds) - 1}, of the seed if one is given"
            raise ValueError(f"member must be {allowed}, got {member}")
        return member
    if seed is None and len(seeds) == 1:
        return 0
    if seed is None and experiment.is_numbered:
        raise ValueError(f"name a member, from 0 to {len(seeds) - 1}: seeds do not tell which")
    if seed not in seeds:
        allowed = ", ".join(map(str, dict.fromkeys(seeds)))
        raise ValueError(f"seed must be one of {allowed}, got {seed}")
    found = [number for number, own in enumerate(seeds) if own == seed]
    if len(found) > 1:
        members = ", ".join(map(str, found))
        raise ValueError(f"seed {seed} is that of the members {members}: name a member")
    return found[0]
