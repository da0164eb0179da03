"""Trains all combinations of lists of settings, as members of as few programs as possible.

    python -m experiments.sweep --env=ant --algo=ds_td3 --backend=brax --seeds=0:8 \\
        --drop_fraction=0.02,0.05,0.1 --sparsity=0.25,0.5,0.8

Every setting may be a list, as may --algo and --preset; a setting whose values have commas takes
semicolons between them: --hidden_sizes='64,64;256,256'. The same command, given again, continues a
stopped sweep. Results: a table ranked by mean learning curve area, CSV files and a picture.
"""

import contextlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

# These imports are light: mistakes on the command line are reported before JAX is imported.
from dsrl_jax.config.presets import ALGORITHMS, PRESETS, check_choice
from experiments.cli.command import ends_on_interrupt
from experiments.cli.flags import Flag, define, given_settings, help_text, make_flags, parse
from experiments.cli.machine import check_device, choose_device
from experiments.cli.values import UsageError, check_different, format_value, parse_seeds
from experiments.run_dir.directory import check_directory
from experiments.run_dir.lock import locked
from experiments.sweep.directory import batch_directory, check_sweep
from experiments.sweep.plan import (
    Member,
    Plan,
    SweepSpec,
    default_directory,
    format_groups,
    group,
    joined,
    make_batches,
    plan_members,
    split_evenly,
)

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes

# Flags of a single run that a sweep does not have.
_OF_A_RUN = ("devices", "distributed", "initial_policy")
_MEMBERS_PER_BATCH = Flag(
    "members_per_batch",
    int,
    None,
    "how many members train at once; default: as many as the memory is expected to allow",
)


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0, 1 for a sweep that failed, 2 for a command line that cannot be run, 130
      and 143 for one that Ctrl-C or SIGTERM stopped.
    """
    values = make_sweep_flags()
    with ends_on_interrupt(), contextlib.ExitStack() as locks:
        try:
            parse(values, arguments, of_a_run=_OF_A_RUN)
            if values.help:
                print(f"{__doc__}\n{help_text(values)}")
                return 0
            plan = prepare(values)
            if not values.dry_run:
                locks.enter_context(locked(plan.directory))
                # Checked again: now no other process writes there.
                check_batches(plan.directory, plan.spec, plan.batches, values)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print("\n".join(plan.summary), flush=True)
        if values.dry_run:
            return 0
        from experiments.sweep.train import train

        return train(plan, values, arguments)


def make_sweep_flags() -> flags.FlagValues:
    """Returns all flags of a sweep, unparsed: a run's flags, with lists of values for settings."""
    values = make_flags(lists=True)
    for name in _OF_A_RUN:
        delattr(values, name)
    values["dry_run"].help = "print members, groups, batches and memory, and stop"
    define(values, "a sweep", [_MEMBERS_PER_BATCH])
    return values


def prepare(values: flags.FlagValues) -> Plan:
    """Checks a command line and plans its sweep; imports JAX last.

    Raises:
      ValueError: what was given, and what is allowed.
    """
    spec = make_spec(values)
    groups = group(plan_members(spec))

    from dsrl_jax.envs import catalog

    brax = groups[0][0].experiment.brax
    simulator = (brax.brax_backend,) if brax else ()
    spaces = catalog.look_up_sizes(spec.env, spec.env_preset, spec.backend, *simulator)
    directory = Path(values.run_dir) if values.run_dir else default_directory(spec)
    sizes = check_sweep(directory, spec)
    _check_sparsities(groups, spaces)
    check_device(values.device)
    estimates = _estimate_memory(groups, spaces)
    if sizes is None:
        most = values.members_per_batch
        sizes = [
            split_evenly(len(members), most) if most else fitting
            for members, (_, fitting) in zip(groups, estimates, strict=True)
        ]
    there, here = [sum(own) for own in sizes], [len(members) for members in groups]
    if there != here:
        raise UsageError(
            f"{directory} contains this sweep in groups of {format_value(tuple(there))} members, "
            f"here they are of {format_value(tuple(here))}: choose another --run_dir or the same "
            "lists"
        )
    batches = make_batches(groups, sizes)
    check_batches(directory, spec, batches, values)
    summary = summarize(spec, directory, groups, sizes, [text for text, _ in estimates])
    return Plan(spec, spaces, directory, sizes, batches, summary)


def make_spec(values: flags.FlagValues) -> SweepSpec:
    """Returns what a command line sweeps. Raises ValueError: what was given, what is allowed."""
    lists: dict[str, Any] = {}
    for name, choices in (("algo", ALGORITHMS), ("preset", PRESETS)):
        lists[name] = tuple(str(values[name].value).split(","))
        for word in lists[name]:
            check_choice(name, word, choices)
        check_different(name, lists[name])
    for name in ("env", "backend"):
        if "," in (given := str(values[name].value)):
            raise UsageError(f"a sweep takes one --{name}, got {given}")
    seeds = parse_seeds(values)
    choose_device(values.device, values.threads, values.deterministic)

    from dsrl_jax.envs import catalog

    env_id = catalog.resolve_id(values.env, values.env_preset, values.backend)
    lists |= given_settings(values)
    return SweepSpec(env_id, values.env_preset, values.backend, seeds, lists)


def check_batches(
    directory: Path, spec: SweepSpec, batches: Sequence[list[Member]], values: flags.FlagValues
) -> None:
    """Checks that a directory is free, or has this sweep and it may be continued.

    Raises:
      ValueError: why it cannot be used.
    """
    sizes = check_sweep(directory, spec)
    if sizes is None:
        return
    if not values.resume:
        raise UsageError(f"{directory} contains this sweep: leave out --noresume to continue it")
    most, largest = values.members_per_batch, max(max(own) for own in sizes)
    if most and any(own != split_evenly(sum(own), most) for own in sizes):
        raise UsageError(
            f"{directory} contains this sweep in batches of up to {largest} members, got "
            f"members_per_batch {most}: leave it out to continue, or choose another --run_dir"
        )
    for number, batch in enumerate(batches, start=1):
        check_directory(batch_directory(directory, number), joined(batch))


def _check_sparsities(groups: list[list[Member]], sizes: "Sizes") -> None:
    from dsrl_jax.agents.layers import check_sparsity
    from dsrl_jax.agents.types import Spaces

    for members in groups:
        for agent in {repr(m.experiment.agent): m.experiment.agent for m in members}.values():
            check_sparsity(Spaces(*sizes), agent)


def _estimate_memory(groups: list[list[Member]], sizes: "Sizes") -> list[tuple[str, list[int]]]:
    """Returns for each group the memory in words, and sizes of batches that should fit."""
    from dsrl_jax.agents.types import Spaces
    from experiments.sweep import memory

    there, found = memory.free(groups[0][0].experiment), []
    for members in groups:
        each, count = memory.needed(members[0].experiment, Spaces(*sizes)), len(members)
        most = memory.most_members(each, there)
        fitting = split_evenly(count, most, there.devices) if most else [count]
        found.append((memory.describe(each, there), fitting))
    return found


def summarize(
    spec: SweepSpec,
    directory: Path,
    groups: list[list[Member]],
    sizes: list[list[int]],
    estimates: list[str],
) -> list[str]:
    """Returns the lines that describe a sweep: members, groups, batches, memory and notes."""
    seeds = len(spec.seeds)
    axes = [f"{name} {len(spec.lists[name])}" for name in spec.axes]
    members = sum(map(len, groups))
    product = " x ".join([*axes, f"seeds {seeds}"])
    if members < math.prod([len(spec.lists[name]) for name in spec.axes], start=seeds):
        product += "; a setting counts once for a method that does not have it"
    steps = sum(len(one) * one[0].experiment.loop.steps for one in groups)
    lines = [
        f"sweep on {spec.env} in {directory}",
        f"{members} members ({product}), {steps:,} steps in all",
    ]
    described = zip(sizes, format_groups(groups), estimates, strict=True)
    for number, (own, words, estimate) in enumerate(described, start=1):
        what = f" ({words})" if words else ""
        batches = f"{len(own)} batches" if len(own) > 1 else "one batch"
        lines.append(
            f"group {number}{what}: {sum(own)} members in {batches} of up to {max(own)}; {estimate}"
        )
    changes = dict.fromkeys(note for one in groups for note in one[0].experiment.changes)
    return lines + [f"note: {note}" for note in changes]
