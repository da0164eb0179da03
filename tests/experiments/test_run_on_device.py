"""A whole run of one of Brax's own environments from the command line."""

import shutil

import jax
import pytest

from experiments import plot, run

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


def test_a_run_that_was_killed_continues_to_the_same_bytes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot, "draw_run", lambda directory: "no pictures")
    assert run.main(COMMAND) == 0
    whole = {name: (tmp_path / "run" / name).read_bytes() for name in SAME}
    # As if it had been killed while it saved its last checkpoint.
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "80")
    capsys.readouterr()
    assert run.main(COMMAND) == 0
    assert "continues in run" in capsys.readouterr().out
    assert {name: (tmp_path / "run" / name).read_bytes() for name in SAME} == whole
