"""Joins experiments as the members of one compiled program.

Members may differ in their seeds and in every float of the agent's settings. All other
settings are static and shared.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dsrl_jax.config.agents import ALGORITHMS, NOT_A_SETTING
from dsrl_jax.config.checks import has_setting
from dsrl_jax.config.experiment import Experiment
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.settings import flatten, is_number, override, settings_of

# From the narrowest to the widest: the program of each trains the ones before it too.
TOPOLOGIES = ("dense", "static", "dynamic")
# This λ makes any layer dense, as eq. (1) clips its density to 1.
DENSE_LAMBDA = 1e9


def resolve_members(
    env_id: str, algo: str, *, seeds: Any, settings: Mapping[str, Any], **names: str
) -> Experiment:
    """Resolves names to an experiment; a float setting may list one value for each member.

    Args:
      seeds: one for each member, or one that all members share.
      names: the other names of `presets.resolve`.
    Raises:
      ValueError: if a name or a value is not allowed, or the lists differ in length.
    """
    numbers = _numbers(algo)
    lists = {
        name: list(value)
        for name, value in settings.items()
        if name in numbers and isinstance(value, Iterable) and not isinstance(value, str)
    }
    if not lists:
        return resolve(env_id, algo, seeds=seeds, settings=settings, **names)
    seeds = (seeds,) if isinstance(seeds, int) else tuple(seeds)
    size = len(next(iter(lists.values()))) if len(seeds) == 1 else len(seeds)
    for name, values in lists.items():
        if not values or len(values) != size:
            raise ValueError(
                f"{name} must have one value for each of {max(size, 1)} members, got {len(values)}"
            )
    members = []
    for member in range(size):
        own = {**settings, **{name: values[member] for name, values in lists.items()}}
        seed = seeds[member % len(seeds)]
        members.append(resolve(env_id, algo, seeds=(seed,), settings=own, **names))
    joined = join(members)
    distinct = set(zip(joined.seeds, *joined.varied.values(), strict=True))
    if len(distinct) < size:
        raise ValueError("two members are the same: give them different seeds or settings")
    return joined


def join(experiments: Sequence[Experiment]) -> Experiment:
    """Returns one experiment with the members of all, in order.

    Raises:
      ValueError: if two experiments differ in a setting that members share.
    """
    first, static = experiments[0], [shared(one) for one in experiments]
    for name, value in static[0].items():
        if any(one.get(name) != value for one in static):
            raise ValueError(f"members may differ in seeds and in numbers, not in {name}")
    agents = [one.agent_of(member) for one in experiments for member in range(len(one.seeds))]
    seeds = tuple(seed for one in experiments for seed in one.seeds)
    settings = [flatten(agent) for agent in agents]
    varied = {
        name: tuple(values[name] for values in settings)
        for name in _numbers(first.algo)
        if any(values[name] != settings[0][name] for values in settings)
    }
    return dataclasses.replace(first, agent=agents[0], seeds=seeds, varied=varied)


def shared(experiment: Experiment) -> dict[str, Any]:
    """Returns what all members share, by name; experiments can be joined if these are equal."""
    numbers = _numbers(experiment.algo)
    return {
        name: getattr(experiment, name)
        for name in ("env", "env_preset", "backend", "algo", "preset", "loop", "brax")
    } | {
        # Whether an optional number is None is static.
        name: value is None if name in numbers else value
        for name, value in flatten(experiment.agent).items()
    }


def count_sharing(members: int, devices: int) -> int:
    """Returns the largest number of devices, up to `devices`, that can share members evenly."""
    return max(n for n in range(1, devices + 1) if members % n == 0)


def widest_algorithm(algos: Iterable[str]) -> str:
    """Returns the algorithm that can train all of these in its program; they share an agent."""
    return max(algos, key=lambda algo: TOPOLOGIES.index(ALGORITHMS[algo].topology))


def express(algo: str, wide: Experiment) -> Experiment | None:
    """Expresses an algorithm as a member of a wider algorithm's program, with the same results.

    A dense network has density 1 there, and a static topology drops a share of 0.

    Args:
      wide: an experiment of the wider algorithm.
    Returns:
      None if a network has a topology that is not its algorithm's: results would differ.
    """
    sparse = wide.agent.sparse
    if algo == wide.algo:
        return wide
    if sparse.actor_topology or sparse.critic_topology:
        return None
    numbers: dict[str, float] = {}
    if ALGORITHMS[wide.algo].topology == "dynamic":
        numbers["drop_fraction"] = 0.0
    if ALGORITHMS[algo].topology == "dense":
        numbers |= {"lambda1": DENSE_LAMBDA, "lambda2": DENSE_LAMBDA}
        for name in ("sparsity", "actor_sparsity", "critic_sparsity"):
            if getattr(sparse, name) is not None:
                numbers[name] = 0.0
    return dataclasses.replace(wide, agent=override(wide.agent, numbers))


def narrow(algo: str, wide: Experiment) -> Experiment:
    """Returns the algorithm's own experiment for a member that `express` returned.

    Settings that the algorithm does not have are its preset's.
    """
    if algo == wide.algo:
        return wide
    plain = resolve(
        wide.env,
        algo,
        preset=wide.preset,
        env_preset=wide.env_preset,
        backend=wide.backend,
        settings={"steps": wide.loop.steps},
    )
    own = {
        name: value
        for name, value in flatten(wide.agent).items()
        if name not in NOT_A_SETTING and has_setting(algo, name, {})
    }
    return dataclasses.replace(wide, algo=algo, agent=override(plain.agent, own))


def _numbers(algo: str) -> list[str]:
    """Lists the settings in which members may differ; none if there is no such algorithm."""
    if algo not in ALGORITHMS:
        return []
    return [field.name for field in settings_of(ALGORITHMS[algo].config) if is_number(field)]
