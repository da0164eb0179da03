"""Names of the paper's tasks."""

import re

# Section 4.2, in the order of Table 1: a task's name in commands and in Brax -> in the paper.
PAPER_NAMES = {
    "halfcheetah": "HalfCheetah",
    "walker2d": "Walker2d",
    "hopper": "Hopper",
    "ant": "Ant",
    "humanoid": "Humanoid",
}


def task_of(env_id: str) -> str:
    """Returns an environment's id without package and version: HalfCheetah for HalfCheetah-v5."""
    return re.sub(r"-v\d+$", "", env_id.rpartition(":")[2])
