"""A whole run of one of Brax's own environments from the command line."""

import itertools

import jax
import pytest

from experiments import run
from experiments.cli.command import StopRequest

pytest.importorskip("brax")

# Brax advertises its successor, and uses deprecated parts of MuJoCo's JAX back-end.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

COMMAND = [
    "--backend=brax",
    "--brax_backend=spring",
    "--env=inverted_pendulum",
    "--num_envs=2",
    "--episode_length=20",
    "--hidden_sizes=8",
    "--batch_size=8",
    "--lambda1=1",
    "--lambda2=2",
    "--adaptation_period=10",
    "--start_steps=20",
    "--steps=80",
    "--eval_period=40",
    "--eval_episodes=2",
    "--log_period=20",
    "--checkpoint_period=40",
    "--seeds=0:2",
    "--run_dir=run",
]
SAME = (
    "config.json",
    "evaluations.csv",
    "training.csv",
    "topology.csv",
    "replay/transitions.f32",
)


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents and Brax broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_a_stopped_run_continues_to_the_same_bytes(tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for place in (whole, stopped):
        place.mkdir()
    monkeypatch.chdir(whole)
    assert run.main(COMMAND) == 0
    monkeypatch.chdir(stopped)
    with monkeypatch.context() as patch:
        asked = itertools.count(1)
        patch.setattr(StopRequest, "is_made", lambda request: next(asked) == 3)
        patch.setattr(StopRequest, "status", 143)
        assert run.main(COMMAND) == 143
    assert "stopped at step 60 of 80" in capsys.readouterr().err
    assert run.main(COMMAND) == 0
    assert "continues in run" in capsys.readouterr().out
    for name in SAME:
        assert (stopped / "run" / name).read_bytes() == (whole / "run" / name).read_bytes()
