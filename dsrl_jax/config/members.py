"""Experiments joined to members of one, which one compiled program trains. Needs no JAX.

Members may differ in their seeds and in every float of the agent's settings; all else is static.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dsrl_jax.config.presets import ALGORITHMS, NOT_A_SETTING, Experiment, has_setting, resolve
from dsrl_jax.config.settings import flatten, is_number, override, settings_of

# From the narrowest to the widest: each one's program trains those before it too.
TOPOLOGIES = ("dense", "static", "dynamic")
# With this λ any layer is dense: its share is clipped to 1 (eq. 1).
DENSE_LAMBDA = 1e9


def resolve_members(
    env_id: str, algo: str, *, seeds: Any, settings: Mapping[str, Any], **names: str
) -> Experiment:
    """`presets.resolve`, where a float setting may also be a list: one value for each member.

    Args:
      seeds: one for each member, or one that all of them share.
    Raises:
      ValueError: if a name or a value is not allowed, or lists are not of one length.
    """
    lists = {
        name: list(value)
        for name, value in settings.items()
        if name in _numbers(algo) and isinstance(value, Iterable) and not isinstance(value, str)
    }
    if not lists:
        return resolve(env_id, algo, seeds=seeds, settings=settings, **names)
    given = (seeds,) if isinstance(seeds, int) else tuple(seeds)
    size = len(next(iter(lists.values()))) if len(given) == 1 else len(given)
    for name, found in lists.items():
        if not found or len(found) != size:
            raise ValueError(
                f"{name} must have one value for each of {max(size, 1)} members, got {len(found)}"
            )
    joined = join(
        [
            resolve(
                env_id,
                algo,
                seeds=(given[member % len(given)],),
                settings={**settings, **{name: found[member] for name, found in lists.items()}},
                **names,
            )
            for member in range(size)
        ]
    )
    members = list(zip(joined.seeds, *joined.varied.values(), strict=True))
    if len(set(members)) < len(members):
        raise ValueError("two members are the same: they differ neither in seed nor in a setting")
    return joined


def join(experiments: Sequence[Experiment]) -> Experiment:
    """The experiment whose members these are, in order.

    Raises:
      ValueError: if two differ in what members cannot differ in.
    """
    first, static = experiments[0], [shared(one) for one in experiments]
    differing = [
        name for name, value in static[0].items() if any(one.get(name) != value for one in static)
    ]
    if differing:
        raise ValueError(f"members may differ in seeds and in numbers, not in {differing[0]}")
    agents = [one.agent_of(member) for one in experiments for member in range(len(one.seeds))]
    seeds = tuple(seed for one in experiments for seed in one.seeds)
    held = [flatten(agent) for agent in agents]
    varied = {
        name: tuple(values[name] for values in held)
        for name in _numbers(first.algo)
        if any(values[name] != held[0][name] for values in held)
    }
    return dataclasses.replace(first, agent=agents[0], seeds=seeds, varied=varied)


def shared(experiment: Experiment) -> dict[str, Any]:
    """What all members of one program share, by name; equal where experiments can be joined."""
    numbers = _numbers(experiment.algo)
    return {
        name: getattr(experiment, name)
        for name in ("env", "env_preset", "backend", "algo", "preset", "loop", "brax")
    } | {
        # None in the place of a number is static: it says that there is none.
        name: value is None if name in numbers else value
        for name, value in flatten(experiment.agent).items()
    }


def count_sharing(members: int, devices: int) -> int:
    """Of so many devices the most that can share members evenly."""
    return max(n for n in range(1, devices + 1) if members % n == 0)


def widest_algorithm(algos: Iterable[str]) -> str:
    """Of algorithms with one agent, that whose program can train them all."""
    return max(algos, key=lambda algo: TOPOLOGIES.index(ALGORITHMS[algo].topology))


def express(algo: str, wide: Experiment) -> Experiment | None:
    """An algorithm as a member of the program of a wider one: the same numbers, other settings.

    A dense network is one of density 1; a static topology drops the share 0. Exact, but where one
    network has a topology of its own.

    Args:
      wide: an experiment of the algorithm that trains it.
    Returns:
      None where it would not be exact.
    """
    topology, sparse = ALGORITHMS[algo].topology, wide.agent.sparse
    if algo == wide.algo:
        return wide
    if sparse.actor_topology or sparse.critic_topology:
        return None
    numbers: dict[str, float] = {}
    if ALGORITHMS[wide.algo].topology == "dynamic":
        numbers["drop_fraction"] = 0.0
    if topology == "dense":
        numbers |= {"lambda1": DENSE_LAMBDA, "lambda2": DENSE_LAMBDA}
        asked = flatten(sparse)
        numbers |= {
            name: 0.0
            for name in ("sparsity", "actor_sparsity", "critic_sparsity")
            if asked[name] is not None
        }
    return dataclasses.replace(wide, agent=override(wide.agent, numbers))


def narrow(algo: str, wide: Experiment) -> Experiment:
    """What an algorithm is by itself of which `express` made a member of a wider one's program.

    Settings that it does not have are again as its preset has them.
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
    """The settings in which members may differ."""
    if algo not in ALGORITHMS:
        return []
    return [field.name for field in settings_of(ALGORITHMS[algo].config) if is_number(field)]
