"""`python -m experiments.report`; see `command`."""

from experiments.cli.command import start
from experiments.report.command import main

if __name__ == "__main__":
    start(main)
