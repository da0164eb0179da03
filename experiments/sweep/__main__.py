"""python -m experiments.sweep --env=ant --algo=ds_td3 --seeds=0:8 …"""

from experiments.cli.command import start
from experiments.sweep.command import main

if __name__ == "__main__":
    start(main)
