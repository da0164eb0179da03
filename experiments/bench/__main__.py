"""Runs a benchmark: python -m experiments.bench NAME [--json] [--repetitions=5] …"""

from experiments.bench.command import main
from experiments.cli.command import start

if __name__ == "__main__":
    start(main)
