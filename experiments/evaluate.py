"""Plays a trained policy: python -m experiments.evaluate RUN_DIR --episodes=100.

The first episodes are those of the run's own evaluations. The environment is the one that
config.json names; an id like package.module:Id-v0 imports that module.
"""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.command import start
from experiments.flags import UsageError, help_text, parse
from experiments.machine import check_device, choose_device

if TYPE_CHECKING:
    import numpy as np

    from dsrl_jax.training.policy import Policy

QUANTILES = {"lowest": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "highest": 1.0}
VIDEOS = (".gif", ".mp4")
TOGETHER = 10  # episodes at a time, each in an environment of its own


class VideoError(RuntimeError):
    """A video that cannot be made here, in one line."""


def main(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
      The exit status: 0, 1 for a video or an episode that failed, 2 for a command line that cannot
      be run.
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
        if values.video and Path(values.video).suffix not in VIDEOS:
            allowed = " or ".join(VIDEOS)
            raise UsageError(f"--video must be a file ending in {allowed}, got {values.video!r}")
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
    """The flags, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "an evaluation"}
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    flags.DEFINE_integer("episodes", 100, "how many, of each seed", 1, **add)
    flags.DEFINE_integer("seed", None, "one seed of the run; default: all", 0, **add)
    flags.DEFINE_bool(
        "best", False, "the best policy by the run's evaluations, not the last", **add
    )
    flags.DEFINE_string(
        "video", None, "a .gif or .mp4 of the first episode, where rendering is available", **add
    )
    return values


def run(directory: Path, values: flags.FlagValues) -> None:
    """Plays the episodes of each seed, prints a row for it, and records a video if asked for.

    Raises:
      ValueError: if there is no such policy or environment.
      VideoError: if there is no rendering, or no writer for such a file.
    """
    from dsrl_jax.training.description import read_description
    from dsrl_jax.training.policy import load_policy

    try:
        seeds = read_description(directory / "config.json")["seeds"]
    except (OSError, KeyError) as error:
        raise UsageError(f"{directory} is no run directory: {error}") from error
    seeds = seeds if values.seed is None else [values.seed]
    try:
        policies = [load_policy(directory, seed=seed, best=values.best) for seed in seeds]
    except OSError as error:
        raise UsageError(f"{directory} cannot be read: {error}") from error
    which = "best" if values.best else "last"
    print(f"{directory}: {which} policies, {values.episodes} episodes each")
    print(
        f"{'seed':>5} {'step':>9} {'mean':>9} {'std':>9}" + "".join(f" {q:>9}" for q in QUANTILES)
    )
    for policy in policies:
        print(describe(policy, play(policy, values.episodes)), flush=True)
    if values.video:
        total, length = record(policies[0], Path(values.video))
        print(f"{values.video}: an episode of {length} steps, return {total:.1f}")


def play(policy: "Policy", episodes: int) -> "np.ndarray":
    """The returns [episodes] of that many episodes, without noise."""
    import numpy as np

    from dsrl_jax.training.evaluation import evaluate

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
    """A row: seed, step, mean, deviation, quantiles."""
    import numpy as np

    numbers = [returns.mean(), returns.std(), *np.quantile(returns, list(QUANTILES.values()))]
    cells = "".join(f" {number:>9.1f}" for number in numbers)
    return f"{policy.seed:>5} {policy.env_step:>9,}{cells}"


def record(policy: "Policy", path: Path) -> tuple[float, int]:
    """Records the first episode of an evaluation; returns its return and length.

    Raises:
      VideoError: says what is missing.
    """
    try:
        with contextlib.closing(_make(policy, render_mode="rgb_array")) as environment:
            return _record(policy, environment, path)
    except Exception as error:  # Drivers, simulators and writers raise whatever they miss.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VideoError(
            f"no video ({reason}); without a display MUJOCO_GL=egl or osmesa may help, "
            "and an .mp4 needs imageio-ffmpeg"
        ) from error


def _record(policy: "Policy", environment: Any, path: Path) -> tuple[float, int]:
    import imageio

    from dsrl_jax.training.evaluation import SEED_OFFSET

    rate = environment.metadata.get("render_fps", 30)
    timing = {"fps": rate} if path.suffix == ".mp4" else {"duration": 1000 / rate}
    total, length, ended = 0.0, 0, False
    writer: Any
    with imageio.get_writer(path, **timing) as writer:
        observation, _ = environment.reset(seed=policy.seed + SEED_OFFSET)
        writer.append_data(environment.render())
        while not ended:
            observation, reward, terminated, truncated, _ = environment.step(policy(observation))
            writer.append_data(environment.render())
            total, length = total + float(reward), length + 1
            ended = terminated or truncated
    return total, length


def _make(policy: "Policy", render_mode: str | None = None) -> Any:
    from dsrl_jax.envs import catalog
    from dsrl_jax.envs.guard import Guarded

    told = policy.experiment
    made = catalog.make(told.env, told.env_preset, told.backend, render_mode)
    return Guarded(made, f"seed {policy.seed}, evaluation")


if __name__ == "__main__":
    start(main)
