"""Kills training processes at random moments, restarts them, and compares them to a whole run."""

import collections
import importlib.util
import random
import signal
import time

from tests.faults.processes import RUN, differing, ended, phase_of, promised, start

# Small networks and short periods: what is tested is when a process dies, not what it learns.
SMALL = [
    "--hidden_sizes=16,16",
    "--batch_size=16",
    "--start_steps=200",
    "--steps=2000",
    "--eval_period=250",
    "--eval_episodes=2",
    "--log_period=50",
    "--checkpoint_period=50",
]
SPARSE = ["--lambda1=3", "--lambda2=3", "--adaptation_period=20"]
RUNS = {
    "td3 on HalfCheetah": ["--env=halfcheetah", "--algo=td3", *SMALL],
    "ds_td3 on Ant, two seeds": ["--env=ant", "--algo=ds_td3", "--seeds=0:2", *SMALL, *SPARSE],
    "ds_sac on Humanoid": ["--env=humanoid", "--algo=ds_sac", *SMALL, *SPARSE],
}
ON_DEVICE = ["--backend=brax", "--brax_backend=spring", "--env=inverted_pendulum", "--num_envs=2"]
if importlib.util.find_spec("brax"):
    RUNS["ds_td3 on Brax inverted_pendulum, two seeds"] = [
        *ON_DEVICE,
        "--algo=ds_td3",
        "--seeds=0:2",
        *SMALL,
        *SPARSE,
    ]
# Of the kills, those while a process starts; and how long the others leave one to train, at most.
EARLY, LONGEST = 0.15, 6.0  # seconds
NOT_YET = ("", "starting", "restoring", "compiling")


class Toll:
    """Counts the kills of one command and what was lost by them."""

    def __init__(self):
        self.phases = collections.Counter()
        self.finished, self.compared, self.differing = 0, 0, []

    def __str__(self):
        phases = ", ".join(f"{count} {phase}" for phase, count in self.phases.most_common())
        compared = f"{self.finished} runs finished, {self.compared} files"
        lost = "; ".join(self.differing) or "nothing"
        return f"{self.phases.total()} kills ({phases}); {compared} compared; lost: {lost}"


def kill_at_random(place, arguments, kills, seed):
    """Kills processes of one command that often; a run that ends is followed by a new one.

    Returns:
      Kills by phase, and what differed from a run that was not killed.
    """
    draw, toll = random.Random(seed), Toll()
    begun = time.monotonic()
    end = ended(start(place / "whole", arguments), place / "whole")
    assert end.status == 0, end.errors
    startup = min(10.0, (time.monotonic() - begun) / 2)
    here, number = place / "killed_0", 0
    while toll.phases.total() < kills:
        if _kill_once(here, arguments, draw, startup, toll):
            continue
        _compare(here, place / "whole", toll)
        number += 1
        here = place / f"killed_{number}"
    end = ended(start(here, arguments), here)
    assert end.status == 0, end.errors
    _compare(here, place / "whole", toll)
    return toll


def _kill_once(place, arguments, draw, startup, toll):
    """Starts the command and kills it; returns False if it had ended before."""
    process = start(place, arguments)
    if draw.random() < EARLY:
        time.sleep(draw.uniform(0, startup))
    else:
        while process.poll() is None and phase_of(place) in NOT_YET:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, LONGEST))
    process.kill()
    end = ended(process, place)
    if end.status == -signal.SIGKILL:
        toll.phases[end.phase or "starting"] += 1
        return True
    assert end.status == 0, end.errors
    return False


def _compare(place, whole, toll):
    toll.finished += 1
    toll.compared += len(promised(whole / RUN)) + 1  # and the checkpoint's arrays
    toll.differing += [f"{name} of {place / RUN}" for name in differing(place, whole)]
