"""Makes a trained policy act in the first steps of a run (Section 4.6, Figure 3)."""

import dataclasses
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import Experiment, InitialPolicy
from dsrl_jax.config.to_json import read_experiment
from dsrl_jax.envs.gymnasium import Sizes
from dsrl_jax.training.checkpoints.checkpoint import RestoreError
from dsrl_jax.training.member_axis import over_members
from dsrl_jax.training.policy import SavedActor, acting_state, read_actor
from dsrl_jax.training.program import make_keys

# What a policy and the agents that start from it share.
_SHARED = ("env", "env_preset", "backend")


def with_initial_policy(experiment: Experiment, sizes: Sizes, run_dir: str | Path) -> Experiment:
    """Returns the experiment, started from the last policy of a run.

    Args:
      sizes: of the experiment's environment.
    Raises:
      ValueError: if there is no such run or policy, if it is of another environment or of several
        seeds, or if the experiment would never use it.
    """
    _check(experiment, sizes, run_dir)
    try:
        actor = read_actor(run_dir)
    except (OSError, ValueError) as error:
        raise ValueError(f"initial_policy {str(run_dir)!r} has no policy: {error}") from error
    return dataclasses.replace(experiment, initial_policy=describe(actor, run_dir))


def describe(actor: SavedActor, run_dir: str | Path) -> InitialPolicy:
    """Returns what identifies a policy: its content, not its directory."""
    digest = hashlib.sha256()
    for place, leaf in jax.tree.leaves_with_path(actor.params):
        digest.update(f"{jax.tree_util.keystr(place)} {leaf.dtype} {leaf.shape} ".encode())
        digest.update(leaf.tobytes())
    trained = actor.experiment
    content = (trained.algo, trained.preset, actor.seed, actor.env_step, digest.hexdigest())
    return InitialPolicy(*content, directory=str(run_dir))


def compile_initial_policy(experiment: Experiment, spaces: Spaces) -> Callable[..., jax.Array]:
    """Returns the policy of an experiment's first steps.

    The policy explores as it did in its own training. Each member draws its noise by the keys that
    it explores with later.

    Returns:
      (step, observations [members, n]) -> actions [members, k].
    Raises:
      RestoreError: if its directory has another policy by now.
    """
    origin = experiment.initial_policy
    assert origin
    actor = read_actor(origin.directory)
    if describe(actor, origin.directory) != origin:
        raise RestoreError(f"initial_policy {origin.directory} has changed: its run was continued")
    config, state = actor.experiment.agent_of(actor.member), acting_state(actor.params)
    agent = AGENTS[type(config)](spaces)
    keys = make_keys(experiment.seeds).explore

    def explore(key: jax.Array, env_step: jax.Array, observation: jax.Array) -> jax.Array:
        return agent.explore(jax.random.fold_in(key, env_step), config, state, observation)

    return jax.jit(partial(over_members(explore, (0, None, 0), len(experiment.seeds)), keys))


def _check(experiment: Experiment, sizes: Sizes, run_dir: str | Path) -> None:
    """Checks everything but the policy itself. Raises ValueError."""
    if experiment.brax:
        raise ValueError("initial_policy is of environments on the host, got backend 'brax'")
    if not experiment.loop.start_steps:
        raise ValueError("initial_policy acts in the first start_steps steps, got start_steps 0")
    try:
        trained, description = read_experiment(Path(run_dir))
    except ValueError as error:
        # A path may contain line breaks; the message is one line.
        raise ValueError(f"initial_policy: {' '.join(str(error).split())}") from error
    expected = {name: getattr(experiment, name) for name in _SHARED}
    for name, here in (expected | sizes._asdict()).items():
        there = description.get(name)
        if here != (tuple(there) if isinstance(there, list) else there):
            raise ValueError(
                f"initial_policy {str(run_dir)!r} is of {name} {there!r}, this run of {here!r}; "
                "name a run on the same environment"
            )
    if len(trained.seeds) > 1:
        raise ValueError(
            f"initial_policy {str(run_dir)!r} holds {len(trained.seeds)} seeds, which have a "
            "policy each; name a run of one seed"
        )
