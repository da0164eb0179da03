"""Agents whose first transitions come from a trained policy (Section 4.6, Figure 3).

Needs no JAX until a policy is read, so that a command line is checked at once.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from dsrl_jax.config.presets import Experiment, InitialPolicy
from dsrl_jax.config.to_json import read_experiment

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes
    from dsrl_jax.training.policy import HeldActor

# What a policy and the agents that start from it share.
_SHARED = ("env", "env_preset", "backend")


def with_initial_policy(experiment: Experiment, sizes: "Sizes", run_dir: str | Path) -> Experiment:
    """The experiment, started from the last policy of a run.

    Args:
      sizes: of the experiment's environment.
    Raises:
      ValueError: if there is no such run or policy, if it is of another environment or of several
        seeds, or if it would not act at all.
    """
    _check(experiment, sizes, run_dir)
    from dsrl_jax.training.policy import read_actor

    try:
        held = read_actor(run_dir)
    except (OSError, ValueError) as error:
        raise ValueError(f"initial_policy {str(run_dir)!r} has no policy: {error}") from error
    return dataclasses.replace(experiment, initial_policy=describe(held, run_dir))


def describe(held: "HeldActor", run_dir: str | Path) -> InitialPolicy:
    """What a policy is, by its content."""
    import jax

    digest = hashlib.sha256()
    for place, leaf in jax.tree.leaves_with_path(held.params):
        digest.update(f"{jax.tree_util.keystr(place)} {leaf.dtype} {leaf.shape} ".encode())
        digest.update(leaf.tobytes())
    trained = held.experiment
    content = (trained.algo, trained.preset, held.seed, held.env_step, digest.hexdigest())
    return InitialPolicy(*content, directory=str(run_dir))


def _check(experiment: Experiment, sizes: "Sizes", run_dir: str | Path) -> None:
    """What can be told before a policy is read. Raises ValueError."""
    if experiment.brax:
        raise ValueError("initial_policy is of environments on the host, got backend 'brax'")
    if not experiment.loop.start_steps:
        raise ValueError("initial_policy acts in the first start_steps steps, got start_steps 0")
    try:
        trained, held = read_experiment(Path(run_dir))
    except ValueError as error:
        # A path may hold anything; what is said is one line.
        raise ValueError(f"initial_policy: {' '.join(str(error).split())}") from error
    expected = {name: getattr(experiment, name) for name in _SHARED}
    for name, here in (expected | sizes._asdict()).items():
        there = held.get(name)
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
