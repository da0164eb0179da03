"""The paper's tasks by their names, and the task that an environment's id is of."""

import re

# Section 4.2, in the order of Table 1: as commands and Brax name a task, and as the paper does.
PAPER_NAMES = {
    "halfcheetah": "HalfCheetah",
    "walker2d": "Walker2d",
    "hopper": "Hopper",
    "ant": "Ant",
    "humanoid": "Humanoid",
}


def task_of(env_id: str) -> str:
    """An id without its package and version: HalfCheetah of HalfCheetah-v5."""
    return re.sub(r"-v\d+$", "", env_id.rpartition(":")[2])
