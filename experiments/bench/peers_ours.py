"""Our whole loop on HalfCheetah-v5: python -m experiments.bench.peers_ours ds_td3 WARM_UP STEPS.

Beside `peers_sbx.py`: as many updates before, and the seconds of STEPS steps on the last line.
"""

import json
import sys

from experiments.cli.machine import choose_device, keep_freed_memory


def main(algo: str, warm_up: int, steps: int) -> None:
    """Trains and prints a line of JSON."""
    choose_device("cpu", None)

    from experiments.bench.whole_loop import training_seconds
    from experiments.bench.workload import ENV

    keep_freed_memory()
    seconds = training_seconds(ENV, algo, steps, {}, warm_up)
    next(seconds)
    print(json.dumps({"seconds": next(seconds)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
