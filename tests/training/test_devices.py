"""Members over several devices of one process, and of two."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.faults.processes import ROOT

COMMAND = [
    "--backend=brax",
    "--env=tests.toy_brax:PointMass",
    "--seeds=0:2",
    "--hidden_sizes=8",
    "--batch_size=8",
    "--lambda1=1",
    "--lambda2=2",
    "--adaptation_period=10",
    "--num_envs=3",
    "--episode_length=8",
    "--start_steps=30",
    "--eval_period=30",
    "--eval_episodes=2",
    "--log_period=30",
    "--checkpoint_period=30",
    "--run_dir=run",
]
SAME = ("evaluations.csv", "training.csv", "topology.csv", "replay/transitions.f32")


def begin(place, *arguments, devices=1):
    """A process that has so many devices, in a directory of its own."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=place,
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(*processes, status=0):
    """What each of them said."""
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [status] * len(said), "\n".join(said)
    return said


def together(places, *arguments, status=0):
    """One run by a process in each place; what they said."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    how = [f"--distributed={address},{len(places)},{number}" for number in range(len(places))]
    run = ("experiments.run", *COMMAND, *arguments)
    begun = [begin(place, *run, each) for place, each in zip(places, how, strict=True)]
    return end(*begun, status=status)


def test_four_devices_in_one_process():
    cases = Path(__file__).with_name("cases_of_devices.py")
    end(begin(ROOT, "pytest", "-q", "-p", "no:cacheprovider", str(cases), devices=4))


def test_two_processes_train_one_run_and_continue_it(tmp_path):
    """As one process with as many devices; only the first one writes and prints."""
    alone, first, second = (tmp_path / name for name in ("alone", "first", "second"))
    end(begin(alone, "experiments.run", *COMMAND, "--steps=90", devices=2))
    together([first, second], "--steps=60")
    said = together([first, second], "--steps=90")
    assert "continues in run" in said[0] and "step" not in said[1]
    assert not list(second.iterdir())
    for name in SAME:
        assert (first / "run" / name).read_bytes() == (alone / "run" / name).read_bytes()
    said = together([first, second], "--steps=90")
    assert "is finished" in said[0] and "step" not in said[1]
    # An error of the first one ends all.
    said = together([first, second], "--steps=60", status=2)
    assert "can be raised, not lowered" in said[0] and "another process cannot run" in said[1]
