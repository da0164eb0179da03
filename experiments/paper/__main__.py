"""`python -m experiments.paper fig2a --seeds=0:5`; see `command`."""

from experiments.cli.command import start
from experiments.paper.command import main

if __name__ == "__main__":
    start(main)
