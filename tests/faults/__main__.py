"""Faults of real training processes: python -m tests.faults [table] [kills] [commands].

Prints each outcome, as in the table of docs/faults.md, and ends with 1 if anything was lost.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults import killing, real
from tests.faults.commands import run_wrong_commands

PARTS = ("table", "commands", "kills")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--only", default="", help="commands whose names have this: Brax, Ant, …")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    # A shell starts what is in the background with Ctrl-C ignored, and so would all runs be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    good = True
    with tempfile.TemporaryDirectory() as directory:
        # Programs are compiled once: a kill has to meet a run, not XLA.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{directory}/compiled")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
        if "table" in options.parts:
            good &= print_table(Path(directory) / "table")
        if "commands" in options.parts:
            good &= print_commands(Path(directory) / "commands", options.seed)
        if "kills" in options.parts:
            named = {name: run for name, run in killing.RUNS.items() if options.only in name}
            good &= print_kills(Path(directory) / "kills", named, options.kills, options.seed)
    return 0 if good else 1


def print_table(place):
    print("| fault | exit status | what is said | what comes of it |\n|---|---|---|---|")
    found = []
    for row in real.rows(place):
        found.append(row.is_good)
        failed = "" if row.is_good else " **FAILED**"
        said = row.said.replace("|", "\\|") or "–"
        print(f"| {row.fault} | {row.status} | {said} | {row.outcome}{failed} |", flush=True)
    print(f"\n{sum(found)} of {len(found)} faults as expected\n", flush=True)
    return all(found)


def print_commands(place, seed):
    bad, count = run_wrong_commands(place, seed)
    print(f"{count} commands end in one line, without a file left behind; others: {len(bad)}")
    for arguments, end in bad:
        print(f"  {arguments}: {end}")
    print(flush=True)
    return not bad


def print_kills(place, runs, kills, seed):
    print(f"SIGKILL at random moments, seed {seed}", flush=True)
    good = True
    for name, arguments in runs.items():
        toll = killing.kill_at_random(place / name.replace(" ", "_"), arguments, kills, seed)
        print(f"{name}: {toll}", flush=True)
        good &= not toll.differing
    return good


if __name__ == "__main__":
    sys.exit(main())
