"""Trains all combinations of lists of settings, as members of as few programs as can be.

    python -m experiments.sweep --env=ant --algo=ds_td3 --backend=brax --seeds=0:8 \\
        --drop_fraction=0.02,0.05,0.1 --sparsity=0.25,0.5,0.8

Every setting may be a list, --algo and --preset too; a setting that has commas itself takes
semicolons between its values: --hidden_sizes='64,64;256,256'. The same command given again
continues a sweep that was stopped. Results: a table ranked by mean learning curve area, CSV files
and a picture.
"""

import contextlib
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

# What is imported here is light: a mistake on the command line is told before JAX is imported.
from dsrl_jax.config.presets import ALGORITHMS, PRESETS, check_choice
from experiments.cli.flags import given_lists, help_text, make_flags, parse, parse_seeds
from experiments.cli.machine import (
    check_device,
    choose_device,
    conditions,
    keep_compiled_programs,
    keep_freed_memory,
)
from experiments.cli.stopping import StopRequest, ends_on_interrupt
from experiments.cli.values import UsageError, check_different, format_value, parse_value
from experiments.run_dir.directory import check_directory
from experiments.run_dir.lock import locked
from experiments.sweep.directory import batch_directory, check_sweep, write_sweep
from experiments.sweep.plan import (
    Member,
    SweepSpec,
    default_directory,
    group,
    joined,
    make_batches,
    plan_members,
    split_evenly,
    tell_groups,
)

if TYPE_CHECKING:
    from dsrl_jax.envs.gymnasium import Sizes

# Flags of a single run that a sweep does not heed.
_OF_A_RUN = ("devices", "distributed", "initial_policy")


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0, 1 for a sweep that failed, 2 for a command line that cannot be run, 130
      and 143 for one that Ctrl-C or SIGTERM stopped.
    """
    with ends_on_interrupt(), contextlib.ExitStack() as held:
        return run(arguments, held)


def run(arguments: list[str], held: contextlib.ExitStack) -> int:
    """Prepares what was asked for, and does it; the directory is held until the end."""
    values = make_flags()
    for name in _OF_A_RUN:
        delattr(values, name)
    values["dry_run"].help = "print members, groups, batches and memory, and stop"
    add: Any = {"flag_values": values, "module_name": "a sweep"}
    flags.DEFINE_string(
        "members_per_batch",
        None,
        "how many members train at once; default: as many as the memory is expected to hold",
        **add,
    )
    try:
        parse(values, arguments, of_a_run=_OF_A_RUN)
        if values.help:
            print(f"{__doc__}\n{help_text(values)}")
            return 0
        plan = prepare(values)
        if not values.dry_run:
            held.enter_context(locked(plan.directory))
            # Again, now that nobody else writes there.
            check_held(plan.directory, plan.spec, plan.batches, values)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(plan.told), flush=True)
    return 0 if values.dry_run else carry_out(plan, values, arguments)


class Plan(NamedTuple):
    """What a command line means, checked.

    sizes: of each group's batches; `batches` has their members
    told: it in words
    """

    spec: SweepSpec
    spaces: "Sizes"
    directory: Path
    sizes: list[list[int]]
    batches: list[list[Member]]
    threads: int | None
    told: list[str]


def prepare(values: flags.FlagValues) -> Plan:
    """Resolves and checks what was asked for; the last thing to be loaded is JAX.

    Raises:
      ValueError: what was given, and what is allowed.
    """
    seeds, lists = parse_seeds(values), given_lists(values)
    threads = parse_value("threads", int, values.threads) if values.threads else None
    asked = _parse_members_per_batch(values)
    named = {"algo": tuple(values.algo.split(",")), "preset": tuple(values.preset.split(","))}
    choose_device(values.device, threads, values.deterministic)
    for name, choices in (("algo", ALGORITHMS), ("preset", PRESETS)):
        for word in named[name]:
            check_choice(name, word, choices)
        check_different(name, named[name])

    for name in ("env", "backend"):
        if "," in (given := str(values[name].value)):
            raise UsageError(f"a sweep takes one --{name}, got {given}")

    from dsrl_jax.envs import catalog

    env_id = catalog.resolve_id(values.env, values.env_preset, values.backend)
    spec = SweepSpec(env_id, values.env_preset, values.backend, seeds, {**named, **lists})
    groups = group(plan_members(spec))
    brax = groups[0][0].experiment.brax
    simulator = (brax.brax_backend,) if brax else ()
    spaces = catalog.look_up_sizes(env_id, values.env_preset, values.backend, *simulator)
    directory = Path(values.run_dir) if values.run_dir else default_directory(spec)
    sizes = check_sweep(directory, spec)
    _check_sparsities(groups, spaces)
    check_device(values.device)
    estimates = _estimate(groups, spaces)
    if sizes is None:
        sizes = [
            split_evenly(len(members), asked) if asked else fitting
            for members, (_, fitting) in zip(groups, estimates, strict=True)
        ]
    there, here = [sum(own) for own in sizes], [len(members) for members in groups]
    if there != here:
        raise UsageError(
            f"{directory} holds this sweep in groups of {format_value(tuple(there))} members, here "
            f"they are of {format_value(tuple(here))}: choose another --run_dir or the same lists"
        )
    batches = make_batches(groups, sizes)
    check_held(directory, spec, batches, values)
    told = _tell(spec, directory, groups, sizes, [text for text, _ in estimates])
    return Plan(spec, spaces, directory, sizes, batches, threads, told)


def check_held(
    directory: Path, spec: SweepSpec, batches: list[list[Member]], values: flags.FlagValues
) -> None:
    """Whether a directory is free, or holds this sweep, which may be continued.

    Raises:
      ValueError: why it cannot be used.
    """
    sizes = check_sweep(directory, spec)
    if sizes is None:
        return
    if not values.resume:
        raise UsageError(f"{directory} holds this sweep: leave out --noresume to continue it")
    asked, largest = _parse_members_per_batch(values), max(max(own) for own in sizes)
    if asked and any(own != split_evenly(sum(own), asked) for own in sizes):
        raise UsageError(
            f"{directory} holds this sweep in batches of up to {largest} members, got "
            f"members_per_batch {asked}: leave it out to continue, or choose another --run_dir"
        )
    for number, batch in enumerate(batches, start=1):
        check_directory(batch_directory(directory, number), joined(batch))


def _parse_members_per_batch(values: flags.FlagValues) -> int | None:
    if values.members_per_batch is None:
        return None
    found = int(parse_value("members_per_batch", int, values.members_per_batch))
    if found < 1:
        raise UsageError(f"--members_per_batch must be at least 1, got {found}")
    return found


def _check_sparsities(groups: list[list[Member]], sizes: "Sizes") -> None:
    from dsrl_jax.agents.layers import check_sparsity
    from dsrl_jax.agents.types import Spaces

    for members in groups:
        for agent in {repr(m.experiment.agent): m.experiment.agent for m in members}.values():
            check_sparsity(Spaces(*sizes), agent)


def _estimate(groups: list[list[Member]], sizes: "Sizes") -> list[tuple[str, list[int]]]:
    """For each group the memory in words, and the sizes of batches that are expected to fit."""
    from dsrl_jax.agents.types import Spaces
    from experiments.sweep import memory

    there, found = memory.free(groups[0][0].experiment), []
    for members in groups:
        each, count = memory.needed(members[0].experiment, Spaces(*sizes)), len(members)
        most = memory.most_members(each, there)
        fitting = split_evenly(count, most, there.devices) if most else [count]
        found.append((memory.describe(each, there), fitting))
    return found


def _tell(
    spec: SweepSpec,
    directory: Path,
    groups: list[list[Member]],
    sizes: list[list[int]],
    estimates: list[str],
) -> list[str]:
    """What a sweep is, in lines."""
    seeds = len(spec.seeds)
    axes = [f"{name} {len(spec.lists[name])}" for name in spec.axes]
    members = sum(map(len, groups))
    product = " x ".join([*axes, f"seeds {seeds}"])
    if members < math.prod([len(spec.lists[name]) for name in spec.axes], start=seeds):
        product += "; a setting counts once for a method that has none"
    steps = sum(len(one) * one[0].experiment.loop.steps for one in groups)
    lines = [
        f"sweep on {spec.env} in {directory}",
        f"{members} members ({product}), {steps:,} steps in all",
    ]
    for number, (own, words) in enumerate(zip(sizes, tell_groups(groups), strict=True), start=1):
        what = f" ({words})" if words else ""
        batches = f"{len(own)} batches" if len(own) > 1 else "one batch"
        lines.append(
            f"group {number}{what}: {sum(own)} members in {batches} of up to {max(own)}; "
            f"{estimates[number - 1]}"
        )
    changes = dict.fromkeys(note for one in groups for note in one[0].experiment.changes)
    return lines + [f"note: {note}" for note in changes]


def carry_out(plan: Plan, values: flags.FlagValues, arguments: list[str]) -> int:
    """Trains batch after batch, and tells what came of it; returns the exit status."""
    from experiments.cli import trainer
    from experiments.sweep import report as sweep_report
    from experiments.sweep.batches import train_batch
    from experiments.sweep.progress import SweepProgress

    here = conditions(values.device, plan.threads, values.deterministic, plan.spec.backend)
    command = shlex.join(arguments)
    keep_freed_memory()
    keep_compiled_programs()
    experiments = [joined(batch) for batch in plan.batches]
    progress = SweepProgress([(len(one.seeds), one.loop) for one in experiments])
    try:
        write_sweep(plan.directory, plan.spec, plan.sizes)
        with StopRequest() as request, contextlib.closing(progress):
            for number, batch in enumerate(zip(plan.batches, experiments, strict=True), start=1):
                own = batch_directory(plan.directory, number)
                progress.begin()
                last = train_batch(
                    own, *batch, plan.spaces, here, command, progress, request.is_made
                )
                if last and (last["kind"] == "stopped" or request.is_made()):
                    where = f"batch {number} of {len(experiments)}, step {last['env_step']:,}"
                    said = f"stopped in {where}, and saved; the same command continues"
                    print(said, file=sys.stderr)
                    return request.status
        told = sweep_report.report(plan.spec, plan.batches, plan.directory)
    except trainer.FAILURES as error:
        return trainer.tell_failure(error, plan.directory)
    print(told)
    return 0
