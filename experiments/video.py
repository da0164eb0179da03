"""A video of an episode, and what keeps one from being made, which is told before it is played.

Drivers of a machine without a display raise, warn on their own, or end their process: so whether
pictures are drawn is tried in a process of its own, python -m experiments.video ENV PRESET BACKEND
SUFFIX.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from experiments.cli.values import UsageError

if TYPE_CHECKING:
    import gymnasium
    import numpy as np

    from dsrl_jax.config.presets import Experiment
    from dsrl_jax.training.policy import Policy

SUFFIXES = (".gif", ".mp4")


class VideoError(RuntimeError):
    """A video that failed while it was made, in one line."""


def check_path(name: str) -> None:
    """Holds a video's file to be one that can be made anew.

    Raises:
      UsageError: for another suffix, or one that nothing writes here; for a file that is there, or
        a place that cannot be written to.
    """
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--video must be a file ending in {' or '.join(SUFFIXES)}, got {name!r}")
    if path.suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise UsageError(f"--video={path} needs imageio-ffmpeg: install that, or name a .gif")
    try:
        path.open("xb").close()
    except FileExistsError as error:
        raise UsageError(f"--video={path} is there already; remove it, or name another") from error
    except OSError as error:
        raise UsageError(
            f"--video={path} cannot be written: {error.strerror}; name a file elsewhere"
        ) from error
    path.unlink()


def check_drawing(experiment: "Experiment", path: Path) -> None:
    """Holds this machine to draw an experiment's environment into such a file, by a short one.

    Raises:
      UsageError: says what is missing, and what to do.
    """
    told = (experiment.env, experiment.env_preset, experiment.backend, path.suffix)
    found = os.pathsep.join(place or os.getcwd() for place in sys.path)
    answer = subprocess.run(
        [sys.executable, "-m", "experiments.video", *told],
        env=os.environ | {"PYTHONPATH": found},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        said = (answer.stdout.strip() or answer.stderr.strip()).splitlines()
        reason = said[-1] if said else f"trying it ended with status {answer.returncode}"
        raise UsageError(f"--video={path} cannot be made here: {reason}")


def find_missing(env_id: str, env_preset: str, backend: str, suffix: str) -> str | None:
    """What keeps an environment from being recorded, and what to do about it; None for nothing."""
    from dsrl_jax.envs import catalog

    try:
        environment = catalog.make(env_id, env_preset, backend, "rgb_array")
        environment.reset(seed=0)
        picture = _draw(environment)
    except Exception as error:  # Anyone's code, simulators and drivers raise whatever they miss.
        return f"{env_id} cannot be drawn{_advise(_in_one_line(error))}"
    try:
        with tempfile.TemporaryDirectory() as place, _open(Path(place, "a" + suffix), 30) as writer:
            writer.append_data(picture)
    except Exception as error:
        return f"no {suffix} can be written ({_in_one_line(error)})"
    return None


def record(policy: "Policy", environment: "gymnasium.Env", path: Path) -> tuple[float, int]:
    """Records the first episode of an evaluation; returns its return and length.

    Args:
      environment: one that draws.
      path: as `check_path` wants it.
    Raises:
      VideoError: says why it failed; the file is removed.
    """
    try:
        with warnings.catch_warnings():
            # JAX warns of the fork that ffmpeg is begun by; it does nothing but become ffmpeg.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            return _record(policy, environment, path)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if not isinstance(error, Exception):  # Ctrl-C
            raise
        raise VideoError(f"--video={path} failed: {_in_one_line(error)}") from error


def _record(policy: "Policy", environment: "gymnasium.Env", path: Path) -> tuple[float, int]:
    from dsrl_jax.training.host.evaluation import SEED_OFFSET

    total, length, ended = 0.0, 0, False
    rate = environment.metadata.get("render_fps", 30)
    most = environment.spec.max_episode_steps if environment.spec else None
    # disable=None: a bar on a terminal alone.
    with _open(path, rate) as writer, tqdm(total=most, unit="step", disable=None) as bar:
        observation, _ = environment.reset(seed=policy.seed + SEED_OFFSET)
        writer.append_data(_draw(environment))
        while not ended:
            observation, reward, terminated, truncated, _ = environment.step(policy(observation))
            writer.append_data(_draw(environment))
            total, length = total + float(reward), length + 1
            bar.update()
            ended = terminated or truncated
    return total, length


def _draw(environment: "gymnasium.Env") -> "np.ndarray":
    """The picture of where an environment stands, [height, width, 3]."""
    import numpy as np

    picture = np.asarray(environment.render())
    if picture.ndim != 3:
        raise ValueError("it draws no picture")
    return picture


def _open(path: Path, rate: float) -> contextlib.AbstractContextManager[Any]:
    """A writer of pictures, `rate` of them a second."""
    import imageio

    timing: Any = {"fps": rate} if path.suffix == ".mp4" else {"duration": 1000 / rate}
    return imageio.get_writer(path, **timing)


def _advise(reason: str) -> str:
    """Why nothing is drawn, and what helps where MuJoCo draws."""
    # Its own name is gone where its import failed, as it does without the driver that it is told.
    if not any(name.partition(".")[0] == "mujoco" for name in sys.modules):
        return f" ({reason}); leave --video out"
    chosen = os.environ.get("MUJOCO_GL")
    given = f"MUJOCO_GL is {chosen!r}" if chosen else "MUJOCO_GL is not set"
    return (
        f", {given} ({reason}); set MUJOCO_GL=egl (apt: libegl1) or MUJOCO_GL=osmesa "
        "(apt: libosmesa6)"
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    missing = find_missing(*sys.argv[1:])
    if missing:
        print(missing)
    sys.exit(missing is not None)
