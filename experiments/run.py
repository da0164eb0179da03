"""Trains agents: python -m experiments.run --env=halfcheetah --algo=ds_td3.

The same command given again continues a run that was stopped, from its last evaluation.
"""

import importlib.util
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

# What is imported here is light: a mistake on the command line is told before JAX is imported.
from dsrl_jax.presets import ALGORITHMS, PRESETS, Experiment, check_choice, resolve
from experiments.command import start
from experiments.flags import (
    given_settings,
    help_text,
    make_flags,
    parse,
    parse_seeds,
    parse_value,
)
from experiments.machine import (
    check_device,
    choose_device,
    commit,
    keep_freed_memory,
    library_versions,
)
from experiments.run_directory import (
    RunDirectory,
    check_directory,
    default_directory,
    describe,
    make_directory,
)

if TYPE_CHECKING:
    from dsrl_jax.agents.types import Spaces
    from dsrl_jax.envs.gymnasium import Sizes


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for a command line that cannot be run, 130
      for one that was interrupted.
    """
    values = make_flags()
    try:
        parse(values, arguments)
        if values.help:
            print(__doc__ + "\n" + help_text(values))
            return 0
        plan = prepare(values)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return carry_out(plan, values, arguments)
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last evaluation", file=sys.stderr)
        return 128 + signal.SIGINT


class Plan(NamedTuple):
    """What a command line means, checked."""

    experiment: Experiment
    sizes: "Sizes"
    directory: Path
    continues: bool
    threads: int | None


def prepare(values: flags.FlagValues) -> Plan:
    """Resolves and checks what was asked for; the last thing to be loaded is JAX.

    Raises:
      ValueError: what was given, and what is allowed.
    """
    seeds, settings = parse_seeds(values), given_settings(values)
    threads = parse_value("threads", int, values.threads) if values.threads else None
    choose_device(values.device, threads)
    check_choice("algo", values.algo, ALGORITHMS)
    check_choice("preset", values.preset, PRESETS)

    from dsrl_jax.envs import catalog

    env_id = catalog.resolve_id(values.env, values.env_preset, values.backend)
    experiment = resolve(
        env_id,
        values.algo,
        preset=values.preset,
        env_preset=values.env_preset,
        backend=values.backend,
        seeds=seeds,
        settings=settings,
    )
    sizes = catalog.look_up_sizes(env_id, values.env_preset, values.backend)
    directory = Path(values.run_dir) if values.run_dir else default_directory(experiment)
    continues = check_directory(directory, experiment)
    _check_sparsity(experiment, sizes)
    if not values.dry_run:
        make_directory(directory)
    check_device(values.device)
    return Plan(experiment, sizes, directory, continues, threads)


def _check_sparsity(experiment: Experiment, sizes: "Sizes") -> None:
    from dsrl_jax.agents.densities import check_sparsity
    from dsrl_jax.agents.types import Spaces

    check_sparsity(Spaces(*sizes), experiment.agent)


def carry_out(plan: Plan, values: flags.FlagValues, arguments: list[str]) -> int:
    """Shows the plan, and trains by it unless this is a dry run."""
    from dsrl_jax.agents.types import Spaces
    from experiments import summary

    experiment, directory = plan.experiment, plan.directory
    spaces = Spaces(*plan.sizes)
    notes = [f"note: {note}" for note in summary.notes(experiment, spaces)]
    if values.dry_run:
        print("\n".join([summary.plan(experiment, spaces, directory), *notes]))
        return 0
    where = f"{'continues' if plan.continues else 'starts'} in {directory}"
    what = f"{experiment.algo} on {summary.environment(experiment, spaces)}"
    print("\n".join([f"{what}: {where}", *notes]), flush=True)
    config = {
        **describe(experiment),
        **plan.sizes._asdict(),
        "action_size": spaces.action_size,
        "layers": summary.densities(experiment, spaces),
        "device": values.device,
        "threads": plan.threads,
        "versions": library_versions(),
        "commit": commit(),
        "command": shlex.join(arguments),
    }
    keep_freed_memory()
    return train(experiment, spaces, directory, config)


def train(experiment: Experiment, spaces: "Spaces", directory: Path, config: dict[str, Any]) -> int:
    """Trains, writing and showing rows as they come, and ends with a table and a curve."""
    from dsrl_jax.agents.costs import expected_cost
    from dsrl_jax.training import train as training
    from dsrl_jax.training.checkpoint import RestoreError
    from dsrl_jax.training.finite import NotFiniteError
    from experiments import plot, summary
    from experiments.progress import Progress

    dense_weights = expected_cost(spaces, experiment.agent, 1).dense_weights
    progress = Progress(experiment.loop.steps, len(experiment.seeds), dense_weights)
    files, last_step = RunDirectory(directory, config), 0
    try:
        for row in training.run(experiment, directory):
            files.write(row)
            progress.show(row)
            last_step = row["env_step"]
    except NotFiniteError as error:
        held = f"the last good rows in {directory} are of step {last_step}"
        print(f"error: {error}; {held}", file=sys.stderr)
        return 1
    except RestoreError as error:
        print(f"error: {error}; choose another --run_dir to start anew", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}; the same command continues once it is mended", file=sys.stderr)
        return 1
    finally:
        progress.close()
        files.close()
    print(summary.results(experiment, spaces, directory))
    print(f"results in {directory}: evaluations.csv, training.csv, topology.csv, tensorboard")
    if importlib.util.find_spec("matplotlib") is None:
        print("no pictures without matplotlib: pip install -e '.[plots]'")
        return 0
    plot.draw(plot.read_curves(directory), directory / "curve.png")
    plot.draw_degrees(directory, directory / "degrees.png")
    print("pictures: curve.png, degrees.png")
    return 0


if __name__ == "__main__":
    start(main)
