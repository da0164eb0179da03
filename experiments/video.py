"""Records a video of an episode; checks that it can be made before the episode is played.

Without a display, drivers raise errors, print warnings, or end their process. So drawing is tried
in a separate process: python -m experiments.video ENV PRESET BACKEND SUFFIX.
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
    """A video that failed while it was made; the message is one line."""


def check_path(name: str) -> None:
    """Checks that a video's file can be created.

    Raises:
      UsageError: if its suffix is unknown or cannot be written here, it exists, or its folder
        cannot be written.
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
    """Checks that this machine can record an experiment's environment, with one frame.

    Raises:
      UsageError: what is missing, and what to do.
    """
    names = (experiment.env, experiment.env_preset, experiment.backend, path.suffix)
    found = os.pathsep.join(place or os.getcwd() for place in sys.path)
    answer = subprocess.run(
        [sys.executable, "-m", "experiments.video", *names],
        env=os.environ | {"PYTHONPATH": found},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        lines = (answer.stdout.strip() or answer.stderr.strip()).splitlines()
        reason = lines[-1] if lines else f"trying it ended with status {answer.returncode}"
        raise UsageError(f"--video={path} cannot be made here: {reason}")


def find_missing(env_id: str, env_preset: str, backend: str, suffix: str) -> str | None:
    """Returns why an environment cannot be recorded and what to do; None if it can be."""
    from dsrl_jax.envs import catalog

    try:
        environment = catalog.make(env_id, env_preset, backend, "rgb_array")
        environment.reset(seed=0)
        picture = _draw(environment)
    except Exception as error:  # Environments, simulators and drivers raise any error.
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
      environment: made with a render mode that returns pictures.
      path: see `check_path`.
    Raises:
      VideoError: why it failed; the file is removed.
    """
    try:
        with warnings.catch_warnings():
            # JAX warns about the fork that starts ffmpeg, which runs no JAX.
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
    # disable=None: no bar unless stderr is a terminal.
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
    """Returns the picture of an environment's state, `[height, width, 3]`."""
    import numpy as np

    picture = np.asarray(environment.render())
    if picture.ndim != 3:
        raise ValueError("it draws no picture")
    return picture


def _open(path: Path, rate: float) -> contextlib.AbstractContextManager[Any]:
    """Opens a writer of pictures, `rate` a second."""
    import imageio

    timing: Any = {"fps": rate} if path.suffix == ".mp4" else {"duration": 1000 / rate}
    return imageio.get_writer(path, **timing)


def _advise(reason: str) -> str:
    """Returns why nothing is drawn, and what helps if MuJoCo draws."""
    # "mujoco" itself is missing if its import failed, as it does without the chosen driver.
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
