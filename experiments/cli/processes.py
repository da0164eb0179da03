"""Several processes that train one run, on one machine or many: how they meet and what they agree.

The first one writes and speaks; the others take part.
"""

import os

from experiments.cli.values import UsageError

AUTO = "auto"
# What a process is, once it has looked at its command: it cannot run, nothing is left to do, or it
# can train.
REFUSED, DONE, READY = range(3)


def join(how: str) -> None:
    """Waits until all processes of a run have met. Imports JAX.

    Args:
      how: "auto" where Slurm or MPI started them, or "ADDRESS:PORT,PROCESSES,PROCESS": where the
        first one listens, how many there are, and which one this is, from 0.
    Raises:
      UsageError: if `how` cannot be read, or they did not meet.
    """
    arguments = {} if how == AUTO else _read(how)
    # Whatever else is told of the others would stand between the lines of the first one.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    try:
        jax.distributed.initialize(**arguments)  # type: ignore[arg-type]
    except Exception as error:  # Of several kinds, by where it fails.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--distributed={how}: the processes did not meet: {reason}") from error


def _read(how: str) -> dict[str, str | int]:
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
    """The least of what the processes are: REFUSED, DONE or READY.

    Each calls it once before it trains or ends, so that none waits for one that has ended.
    """
    import numpy as np
    from jax.experimental import multihost_utils

    return int(np.min(multihost_utils.process_allgather(np.int32(state))))
