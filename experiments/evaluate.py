"""Plays a trained policy: python -m experiments.evaluate RUN_DIR --episodes=100.

The first episodes equal the episodes of the run's own evaluations. config.json names the
environment; an id like package.module:Id-v0 imports that module.
"""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.cli.command import start
from experiments.cli.flags import help_text, parse
from experiments.cli.machine import check_device, choose_device
from experiments.cli.values import UsageError
from experiments.video import VideoError, check_drawing, check_path, record

if TYPE_CHECKING:
    import numpy as np

    from dsrl_jax.training.policy import Policy

QUANTILES = {"lowest": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "highest": 1.0}
TOGETHER = 10  # episodes at a time, each in its own environment


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0 on success, 1 if an episode or a video failed, 2 for a bad command line.
    """
    from dsrl_jax.envs.guard import EnvironmentFailure

    values = make_flags()
    try:
        directories = parse(values, arguments, stray=True)
        if values.help:
            print(__doc__ + "\n" + help_text(values))
            return 0
        if len(directories) != 1:
            raise UsageError(f"name one run directory, got {len(directories)}")
        if values.video is not None:
            check_path(values.video)
        choose_device("cpu", None)
        check_device("cpu")
        run(Path(directories[0]), values)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (VideoError, EnvironmentFailure) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make_flags() -> flags.FlagValues:
    """Returns the flags, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "an evaluation"}
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    flags.DEFINE_integer("episodes", 100, "episodes of each seed; default: 100", 1, **add)
    flags.DEFINE_integer("seed", None, "one seed of the run; default: all", 0, **add)
    flags.DEFINE_integer(
        "member", None, "number of one member, if members share a seed, as in a sweep", 0, **add
    )
    flags.DEFINE_bool(
        "best", False, "the best policy in the run's evaluations instead of the last", **add
    )
    flags.DEFINE_string(
        "video",
        None,
        "new .gif or .mp4 file of the first episode; without a display set MUJOCO_GL=egl or "
        "osmesa; an .mp4 needs imageio-ffmpeg",
        **add,
    )
    return values


def run(directory: Path, values: flags.FlagValues) -> None:
    """Plays each seed's episodes, prints a row for it, and records a video if --video is given.

    Raises:
      ValueError: if there is no such policy or environment, or no video can be made.
      VideoError: if the video failed.
    """
    policies = load(directory, values.seed, values.best, values.member)
    check_environment(policies[0])
    if values.video:
        check_drawing(policies[0].experiment, Path(values.video))
    which = "best" if values.best else "last"
    print(f"{directory}: {which} policies, {values.episodes} episodes each")
    number = f"{'member':>6} " if policies[0].experiment.is_numbered else ""
    print(
        f"{number}{'seed':>5} {'step':>9} {'mean':>9} {'std':>9}"
        + "".join(f" {q:>9}" for q in QUANTILES)
    )
    for policy in policies:
        print(describe(policy, play(policy, values.episodes)), flush=True)
    if values.video:
        with contextlib.closing(_make(policies[0], "rgb_array")) as environment:
            total, length = record(policies[0], environment, Path(values.video))
        print(f"{values.video}: an episode of {length} steps, return {total:.1f}")


def load(
    directory: Path, seed: int | None, best: bool, member: int | None = None
) -> "list[Policy]":
    """Loads the policy of one member of a run, or of all that are not frozen.

    Raises:
      ValueError: if there is none.
    """
    from dsrl_jax.training.policy import FrozenMemberError, load_policy, read_experiment
    from experiments.sweep.directory import NAME

    if (directory / NAME).exists():
        raise UsageError(f"{directory} is a sweep: name one of its batches, {directory}/batch_1")
    found = []
    try:
        if seed is not None or member is not None:
            return [load_policy(directory, seed=seed, member=member, best=best)]
        members = range(len(read_experiment(directory)[0].seeds))
        for number in members:
            try:
                found.append(load_policy(directory, member=number, best=best))
            except FrozenMemberError as error:
                print(f"note: {error}", file=sys.stderr)
    except OSError as error:
        raise UsageError(f"{directory} cannot be read: {error}") from error
    if not found:
        raise UsageError(f"{directory} has no member that was not frozen: try --best")
    return found


def check_environment(policy: "Policy") -> None:
    """Checks that a policy's environment can be made and has its sizes. Raises ValueError."""
    from dsrl_jax.envs import catalog

    experiment, spaces = policy.experiment, policy.spaces
    environment = (experiment.env, experiment.env_preset, experiment.backend)
    catalog.make(*environment).close()
    sizes = catalog.look_up_sizes(*environment)
    here = (sizes.observation_size, len(sizes.action_low))
    then = (spaces.observation_size, spaces.action_size)
    if here != then:
        raise UsageError(
            f"env {experiment.env!r} has {here[0]} observations and {here[1]} actions, the policy "
            f"was trained with {then[0]} and {then[1]}: it is another environment"
        )


def play(policy: "Policy", episodes: int) -> "np.ndarray":
    """Plays episodes without noise; returns their returns `[episodes]`."""
    import numpy as np

    from dsrl_jax.training.host.evaluation import evaluate

    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(contextlib.closing(_make(policy)))
            for _ in range(min(episodes, TOGETHER))
        ]
        played = [
            evaluate(policy, [made[: episodes - first]], (policy.seed,), first_episode=first)[0][0]
            for first in range(0, episodes, TOGETHER)
        ]
    return np.concatenate(played)


def describe(policy: "Policy", returns: "np.ndarray") -> str:
    """Formats a row: member (if rows have its number), seed, step, mean, deviation, quantiles."""
    import numpy as np

    numbers = [returns.mean(), returns.std(), *np.quantile(returns, list(QUANTILES.values()))]
    cells = "".join(f" {number:>9.1f}" for number in numbers)
    number = f"{policy.member:>6} " if policy.experiment.is_numbered else ""
    return f"{number}{policy.seed:>5} {policy.env_step:>9,}{cells}"


def _make(policy: "Policy", render_mode: str | None = None) -> Any:
    from dsrl_jax.envs import catalog
    from dsrl_jax.envs.guard import Guarded

    experiment = policy.experiment
    made = catalog.make(experiment.env, experiment.env_preset, experiment.backend, render_mode)
    return Guarded(made, f"seed {policy.seed}, evaluation")


if __name__ == "__main__":
    start(main)
