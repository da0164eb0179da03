"""What a sweep is made of: the product of lists as members, groups that compile alike, batches.

Needs no JAX.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.config.members import count_sharing, express, join, shared, widest_algorithm
from dsrl_jax.config.presets import ALGORITHMS, Experiment, has_setting, resolve
from dsrl_jax.config.settings import flatten, is_number, settings_of
from experiments.cli.values import UsageError, format_value
from experiments.run_dir.directory import MAY_CHANGE
from experiments.run_dir.naming import as_name, short_hash

MOST_MEMBERS = 10_000

Lists = Mapping[str, Sequence[Any]]


class SweepSpec(NamedTuple):
    """What a sweep varies, and what it does not: names and lists as they were given."""

    env: str  # the back-end's id
    env_preset: str
    backend: str
    seeds: tuple[int, ...]
    lists: Lists  # algo and preset among them; a list of one is no axis

    @property
    def axes(self) -> list[str]:
        """What has more than one value, but for seeds."""
        return [name for name, values in self.lists.items() if len(values) > 1]

    def describe(self) -> dict[str, Any]:
        """It as JSON."""
        return json.loads(json.dumps({**self._asdict(), "lists": dict(self.lists)}))


class Member(NamedTuple):
    """One member of a sweep.

    values: of the axes that its method has_setting, by name
    experiment: what it is alone, in the words of its group's program
    """

    seed: int
    values: dict[str, Any]
    experiment: Experiment


def plan_members(spec: SweepSpec) -> list[Member]:
    """The product of all lists, settings first and seeds last.

    An axis that a method does not heed gives it one member, where another method does heed it.

    Raises:
      ValueError: as `resolve`, or if there are too many.
    """
    choices = spec.lists
    count = len(spec.seeds)
    for listed in choices.values():
        count *= len(listed)
    if count > MOST_MEMBERS:
        raise UsageError(f"a sweep has at most {MOST_MEMBERS:,} members, got {count:,}")
    found: dict[str, Member] = {}
    for combination in itertools.product(*choices.values()):
        given = dict(zip(choices, combination, strict=True))
        algo, preset = given.pop("algo"), given.pop("preset")
        own = _heeded(algo, given, choices["algo"])
        experiment = _express(spec, algo, preset, own, given)
        named = {"algo": algo, "preset": preset, **own}
        values = {name: named[name] for name in spec.axes if name in named}
        for seed in spec.seeds:
            alone = dataclasses.replace(experiment, seeds=(seed,), freeze_nonfinite=True)
            found.setdefault(repr((values, seed)), Member(seed, values, alone))
    return list(found.values())


def _heeded(algo: str, given: dict[str, Any], algos: Sequence[str]) -> dict[str, Any]:
    """The settings without those of other methods alone; what none of them has is refused later."""
    return {
        name: value
        for name, value in given.items()
        if has_setting(algo, name, given)
        or not any(has_setting(other, name, given) for other in algos)
    }


def _express(
    spec: SweepSpec, algo: str, preset: str, own: dict[str, Any], given: dict[str, Any]
) -> Experiment:
    """A method with its settings, as a member of a wider one's program where that is exact."""

    def resolved(name: str, settings: dict[str, Any]) -> Experiment:
        return resolve(
            spec.env,
            name,
            preset=preset,
            env_preset=spec.env_preset,
            backend=spec.backend,
            seeds=spec.seeds,
            settings=settings,
        )

    experiment = resolved(algo, own)
    config, algos = ALGORITHMS[algo].config, spec.lists["algo"]
    wide = widest_algorithm(name for name in algos if ALGORITHMS[name].config is config)
    if wide == algo:
        return experiment
    return express(algo, resolved(wide, _heeded(wide, given, algos))) or experiment


def group(members: Sequence[Member]) -> list[list[Member]]:
    """Members of one program together, in the order of their first ones."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(repr(shared(member.experiment)), []).append(member)
    return list(groups.values())


def tell_groups(groups: Sequence[Sequence[Member]]) -> list[str]:
    """What each group has that others have not, in words."""
    held = [_settings(members[0].experiment) for members in groups]
    of_all = [name for name in held[0] if all(name in each for each in held)]
    differing = [name for name in of_all if len({repr(each[name]) for each in held}) > 1]
    return [", ".join(f"{name} {each[name]}" for name in differing) for each in held]


def _settings(experiment: Experiment) -> dict[str, str]:
    """What a group shares, flat; of a number only whether it has one."""
    parts = shared(experiment)
    loop, brax = parts.pop("loop"), parts.pop("brax")
    settings = flatten(loop) | (flatten(brax) if brax else {})
    numbers = {f.name for f in settings_of(experiment.agent) if is_number(f)}
    words = {
        name: ("none" if value else "given") if name in numbers else format_value(value)
        for name, value in parts.items()
    }
    return words | {name: format_value(value) for name, value in settings.items()}


def split_evenly(count: int, most: int, devices: int = 1) -> list[int]:
    """The sizes of as few batches of at most `most` as there can be, nearly equal.

    Args:
      devices: on which there is room for `most`, for as many on each; those that cannot share a
        batch evenly are of no use to it.
    """
    on_each = max(most // devices, 1)

    def fits(size: int) -> bool:
        return size <= on_each * count_sharing(size, devices)

    for batches in range(-(-count // most), count):
        sizes = [(count + place) // batches for place in range(batches)]
        if all(map(fits, sizes)):
            return sizes
    return [1] * count


def make_batches(
    groups: Sequence[Sequence[Member]], sizes: Sequence[Sequence[int]]
) -> list[list[Member]]:
    """The members of each batch, by the sizes of the batches of each group."""
    batches = []
    for members, own in zip(groups, sizes, strict=True):
        rest = iter(members)
        batches += [list(itertools.islice(rest, size)) for size in own]
    return batches


def joined(batch: Sequence[Member]) -> Experiment:
    """A batch as one experiment."""
    return join([member.experiment for member in batch])


def default_directory(spec: SweepSpec) -> Path:
    """runs/{env}-{algos}-sweep-{hash of all lists}: the same command finds it again."""
    held = spec.describe()
    held["lists"] = {name: v for name, v in held["lists"].items() if name not in MAY_CHANGE}
    algos = "_".join(spec.lists["algo"])
    return Path("runs") / f"{as_name(spec.env)}-{algos}-sweep-{short_hash(held)}"
