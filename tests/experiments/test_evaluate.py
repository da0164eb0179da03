"""The command that plays a trained policy, and its videos."""

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imageio
import jax
import numpy as np
import pytest

from dsrl_jax.training.policy import load_policy
from experiments import evaluate, video
from tests.old_run import OLD, STEPS, edit, evaluations

TOYS = "tests.toy_environments"
HAS_FFMPEG = importlib.util.find_spec("imageio_ffmpeg") is not None


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def drawn(tmp_path):
    """A run whose environment draws pictures."""
    shutil.copytree(OLD, tmp_path / "drawn")
    edit(tmp_path / "drawn", env=f"{TOYS}:Drawn-v0")
    return tmp_path / "drawn"


@pytest.fixture
def place(tmp_path):
    """An empty directory for videos."""
    (tmp_path / "videos").mkdir()
    return tmp_path / "videos"


@pytest.fixture
def expect_error(capsys, monkeypatch):
    """Checks that a command line is an error of one line, before an episode is played."""

    def check(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "play", lambda *_: pytest.fail("an episode was played"))
            assert evaluate.main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
        assert not printed.out
        return printed.err

    return check


def test_a_sweep_is_an_error_that_names_its_batches(expect_error, tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    assert f"{tmp_path} is a sweep: name one of its batches" in expect_error(tmp_path)


def test_evaluate_prints_mean_deviation_and_quantiles(capsys):
    assert evaluate.main([str(OLD), "--episodes=2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    for row, known in zip(rows, evaluations()[-2:], strict=True):
        low, high = sorted([known["return_0"], known["return_1"]])
        middle = (low + high) / 2
        expected = [known["seed"], STEPS, known["return_mean"], known["return_std"]]
        expected += [low, (low + middle) / 2, middle, (middle + high) / 2, high]
        np.testing.assert_allclose([float(cell) for cell in row], expected, atol=0.06)


def test_a_disk_error_is_one_line(capsys, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dsrl_jax.training.policy.load_policy", fail)
    assert evaluate.main([str(OLD), "--episodes=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one run directory, got 0"),
        ([OLD, OLD], "name one run directory, got 2"),
        (["nowhere"], "nowhere is no run directory: No such file"),
        ([OLD, "--episodes=0"], "episodes"),
        ([OLD, "--episode=3"], "did you mean --episodes"),
        ([OLD, "--seed=7"], "seed must be one of 0, 1, got 7"),
        ([OLD, "--video="], ".gif or .mp4, got ''"),
        ([OLD, "--video=a.avi"], ".gif or .mp4, got 'a.avi'"),
        ([OLD, "--video=none/a.gif"], "none/a.gif cannot be written: No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_one_line(expect_error, arguments, message):
    assert message in expect_error(*arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"env": "tests.toy_environments:Nothing-v0"},
            "'tests.toy_environments:Nothing-v0' cannot",
        ),
        ({"env": "no_such_module:Id-v0"}, "env 'no_such_module:Id-v0' cannot be made"),
        (
            {"env": "tests.toy_environments:Asymmetric-v0"},
            "2 observations and 2 actions, .* 2 and 1",
        ),
        ({"env": "tests.toy_environments:Image-v0"}, "observation must be a flat Box"),
        ({"backend": "envpol"}, "backend must be one of gymnasium, envpool, brax, got 'envpol'"),
        ({"seeds": 5}, "config.json is damaged"),
    ],
)
def test_an_environment_that_cannot_be_made_is_reported_first(
    expect_error, drawn, changes, message
):
    edit(drawn, **changes)
    assert re.search(message, expect_error(drawn))


def test_a_run_without_a_checkpoint_has_nothing_to_evaluate(expect_error, drawn):
    shutil.rmtree(drawn / "checkpoints")
    assert "a run saves its first after checkpoint_period steps" in expect_error(drawn)


# --- videos --------------------------------------------------------------------------------------


# imageio-ffmpeg forks to read, and leaves pipes to the garbage collector.
MP4 = [
    pytest.mark.skipif(not HAS_FFMPEG, reason="imageio-ffmpeg is not installed"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("suffix", [".gif", pytest.param(".mp4", marks=MP4)])
def test_a_video_shows_an_episode(drawn, place, capsys, suffix):
    path = place / f"episode{suffix}"
    arguments = [str(drawn), "--episodes=1", "--seed=1", "--best", f"--video={path}"]
    assert evaluate.main(arguments) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    frames = np.stack([frame[..., :3] for frame in imageio.mimread(path)])
    assert f"an episode of {len(frames) - 1} steps" in said
    columns = frames.sum(axis=(1, 3)).argmax(axis=1)
    assert np.unique(columns).size > 1


def test_an_existing_file_stays_as_it_is(expect_error, drawn, place):
    path = place / "a.gif"
    path.write_text("mine")
    assert f"{path} is there already; remove it, or name another" in expect_error(
        drawn, f"--video={path}"
    )
    assert path.read_text() == "mine"


def test_an_mp4_needs_ffmpeg(expect_error, drawn, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    error = expect_error(drawn, f"--video={place / 'a.mp4'}")
    assert "a.mp4 needs imageio-ffmpeg: install that, or name a .gif" in error
    assert not list(place.iterdir())


def test_an_environment_without_pictures_is_an_error_before_an_episode(expect_error, drawn, place):
    edit(drawn, env=f"{TOYS}:PointMass-v0")
    error = expect_error(drawn, f"--video={place / 'a.gif'}")
    assert "cannot be made here" in error and "leave --video out" in error
    assert not list(place.iterdir())


def test_without_a_renderer_the_error_names_what_helps(place, monkeypatch):
    """Without MuJoCo's own messages, which are several lines."""
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    experiment = dataclasses.replace(load_policy(OLD, seed=0).experiment, env="HalfCheetah-v5")
    with pytest.raises(ValueError) as error:
        video.check_drawing(experiment, place / "a.gif")
    said = str(error.value)
    assert "HalfCheetah-v5 cannot be drawn, MUJOCO_GL is 'disabled' (" in said
    assert "set MUJOCO_GL=egl (apt: libegl1) or MUJOCO_GL=osmesa (apt: libosmesa6)" in said
    assert "\n" not in said and not list(place.iterdir())


def test_a_driver_that_ends_its_process_is_an_error(place, monkeypatch):
    crash = subprocess.CompletedProcess([], -11, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **options: crash)
    experiment = load_policy(OLD, seed=0).experiment
    with pytest.raises(ValueError, match="a.gif cannot be made here: .* status -11"):
        video.check_drawing(experiment, place / "a.gif")


def test_a_video_that_fails_leaves_no_file(drawn, place, capsys, monkeypatch):
    def draw(environment):
        raise RuntimeError("the driver is\ngone")

    monkeypatch.setattr(video, "_draw", draw)
    monkeypatch.setattr(evaluate, "check_drawing", lambda experiment, path: None)
    path = place / "a.gif"
    assert evaluate.main([str(drawn), "--episodes=1", "--seed=0", f"--video={path}"]) == 1
    assert capsys.readouterr().err == f"error: --video={path} failed: the driver is gone\n"
    assert not list(place.iterdir())


@pytest.mark.parametrize("renderer", ["egl", "osmesa"])
def test_mujoco_draws_without_a_display(renderer, place):
    """If there is such a renderer; else there is an error."""
    environment = os.environ | {"MUJOCO_GL": renderer}
    answer = subprocess.run(
        [sys.executable, "-m", "experiments.video", "HalfCheetah-v5", "v5", "gymnasium", ".gif"],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        assert f"MUJOCO_GL is '{renderer}'" in answer.stdout
        pytest.skip(f"{renderer} draws nothing here")
    assert not answer.stdout
