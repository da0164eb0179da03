"""Several processes that train one run, on one machine or many: how they connect and agree.

Only the first process writes and prints.
"""

import os

from experiments.cli.values import UsageError

AUTO = "auto"
# The state of a process that has checked its command: it cannot run, it has nothing left to do, or
# it can train.
REFUSED, DONE, READY = range(3)


def join(how: str) -> None:
    """Waits until all processes of a run are connected. Imports JAX.

    Args:
      how: "auto" if Slurm or MPI started them, else "ADDRESS:PORT,PROCESSES,PROCESS": where the
        first process listens, how many there are, and the number of this one, from 0.
    Raises:
      UsageError: if `how` is malformed, or the processes did not connect.
    """
    arguments = {} if how == AUTO else _parse(how)
    # Log messages about other processes would appear between the lines of the first one.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    try:
        jax.distributed.initialize(**arguments)  # type: ignore[arg-type]
    except Exception as error:  # The type depends on where it fails.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--distributed={how}: the processes did not meet: {reason}") from error


def _parse(how: str) -> dict[str, str | int]:
    address, *numbers = how.split(",")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers) or ":" not in address:
        raise UsageError(
            f"--distributed must be {AUTO} or ADDRESS:PORT,PROCESSES,PROCESS, got {how!r}"
        )
    count, index = map(int, numbers)
    if index >= count:
        raise UsageError(f"--distributed: process must be from 0 to {count - 1}, got {index}")
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def agree(state: int) -> int:
    """Returns the lowest state of all processes: REFUSED, DONE or READY.

    Each process calls it once before it trains or ends, so that none waits for one that has ended.
    """
    import numpy as np
    from jax.experimental import multihost_utils

    return int(np.min(multihost_utils.process_allgather(np.int32(state))))
