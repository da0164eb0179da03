"""Plans a sweep: the product of lists as members, groups of one program each, and batches.

Needs no JAX.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dsrl_jax.config.members import count_sharing, express, join, shared, widest_algorithm
from dsrl_jax.config.presets import ALGORITHMS, Experiment, has_setting, resolve
from dsrl_jax.config.settings import flatten, is_number, settings_of
from experiments.cli.values import UsageError, format_value
from experiments.run_dir.directory import MAY_CHANGE, as_name, short_hash

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes

MOST_MEMBERS = 10_000

Lists = Mapping[str, Sequence[Any]]


class SweepSpec(NamedTuple):
    """What a sweep varies and what it does not, as it was given."""

    env: str  # the back-end's id
    env_preset: str
    backend: str
    seeds: tuple[int, ...]
    lists: Lists  # also algo and preset; a list of one value is no axis

    @property
    def axes(self) -> list[str]:
        """The names of lists with several values; seeds are no axis."""
        return [name for name, values in self.lists.items() if len(values) > 1]

    def describe(self) -> dict[str, Any]:
        """Returns the spec as JSON."""
        return json.loads(json.dumps({**self._asdict(), "lists": dict(self.lists)}))


class Member(NamedTuple):
    """One member of a sweep.

    values: its value on each axis that its method has, by name
    experiment: the member by itself, as its group's program expresses it
    """

    seed: int
    values: dict[str, Any]
    experiment: Experiment


class Plan(NamedTuple):
    """A checked command line.

    sizes: the sizes of each group's batches
    batches: the members of each batch
    summary: the sweep in lines of text
    """

    spec: SweepSpec
    spaces: "Sizes"
    directory: Path
    sizes: list[list[int]]
    batches: list[list[Member]]
    summary: list[str]


def plan_members(spec: SweepSpec) -> list[Member]:
    """Returns the product of all lists, settings first and seeds last.

    An axis that a method does not have counts once for it, if another method has it.

    Raises:
      ValueError: see `resolve`; or if there are too many members.
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
        own = _own_settings(algo, given, choices["algo"])
        experiment = _express(spec, algo, preset, own, given)
        named = {"algo": algo, "preset": preset, **own}
        values = {name: named[name] for name in spec.axes if name in named}
        for seed in spec.seeds:
            alone = dataclasses.replace(experiment, seeds=(seed,), freeze_nonfinite=True)
            found.setdefault(repr((values, seed)), Member(seed, values, alone))
    return list(found.values())


def _own_settings(algo: str, given: dict[str, Any], algos: Sequence[str]) -> dict[str, Any]:
    """Removes the settings that only other methods have; `resolve` rejects what no method has."""
    return {
        name: value
        for name, value in given.items()
        if has_setting(algo, name, given)
        or not any(has_setting(other, name, given) for other in algos)
    }


def _express(
    spec: SweepSpec, algo: str, preset: str, own: dict[str, Any], given: dict[str, Any]
) -> Experiment:
    """Resolves a method with its settings, as a member of a wider method's program if exact."""

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
    return express(algo, resolved(wide, _own_settings(wide, given, algos))) or experiment


def group(members: Sequence[Member]) -> list[list[Member]]:
    """Groups members of one program, in the order of their first members."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(repr(shared(member.experiment)), []).append(member)
    return list(groups.values())


def format_groups(groups: Sequence[Sequence[Member]]) -> list[str]:
    """Describes, for each group, the shared settings in which it differs from the others."""
    settings = [_settings(members[0].experiment) for members in groups]
    common = [name for name in settings[0] if all(name in each for each in settings)]
    differing = [name for name in common if len({repr(each[name]) for each in settings}) > 1]
    return [", ".join(f"{name} {each[name]}" for name in differing) for each in settings]


def _settings(experiment: Experiment) -> dict[str, str]:
    """Returns the settings that a group shares; of a number only whether there is one."""
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
    """Returns nearly equal sizes of as few batches of at most `most` as possible.

    Args:
      devices: have memory for `most` members together, in equal parts; devices that cannot share a
        batch evenly are not used for it.
    """
    on_each = max(most // devices, 1)
    for batches in range(-(-count // most), count):
        sizes = [(count + place) // batches for place in range(batches)]
        if all(size <= on_each * count_sharing(size, devices) for size in sizes):
            return sizes
    return [1] * count


def make_batches(
    groups: Sequence[Sequence[Member]], sizes: Sequence[Sequence[int]]
) -> list[list[Member]]:
    """Returns the members of each batch, given the sizes of each group's batches."""
    batches = []
    for members, own in zip(groups, sizes, strict=True):
        rest = iter(members)
        batches += [list(itertools.islice(rest, size)) for size in own]
    return batches


def joined(batch: Sequence[Member]) -> Experiment:
    """Returns a batch as one experiment."""
    return join([member.experiment for member in batch])


def default_directory(spec: SweepSpec) -> Path:
    """Returns runs/{env}-{algos}-sweep-{hash of all lists}, the same for the same command."""
    content = spec.describe()
    content["lists"] = {name: v for name, v in content["lists"].items() if name not in MAY_CHANGE}
    algos = "_".join(spec.lists["algo"])
    return Path("runs") / f"{as_name(spec.env)}-{algos}-sweep-{short_hash(content)}"
