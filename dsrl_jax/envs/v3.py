"""The nearest environments to the paper's `-v3` tasks in current Gymnasium.

The `-v3` tasks pay the healthy reward on the step that falls too, and observe contact forces that
their MuJoCo left at 0, so that contacts cost nothing. Gymnasium's v4 pays the same rewards. Its v5
pays no healthy reward for the fall, and subtracts contact costs in Ant and Humanoid. Dynamics,
reset noise, the other rewards and the limit of 1000 steps are the same in v4 and v5, except the
friction of Walker2d's foot.
"""

from typing import Any

import gymnasium
import numpy as np

ALIASES = {
    "halfcheetah": "HalfCheetah-v5",  # never falls; only names in `info` have changed
    "hopper": "Hopper-v4",  # pays for the fall
    "walker2d": "Walker2d-v4",  # pays for the fall; v5 doubles the friction of the right foot
    "ant": "Ant-v4",  # pays for the fall, no cost of contact
    "humanoid": "Humanoid-v4",  # pays for the fall, no cost of contact
}

CONTACT_FORCES = 84  # the last observations of Ant and Humanoid: 6 for each of 14 bodies

# Number of observations before the contact forces, which are 0.
OBSERVATIONS_BEFORE = {
    "Ant-v4": 27,  # omits the forces; with them, λ1 = 40 gives the paper's sparsity
    "Humanoid-v4": 292,  # computes the forces
}


def make(env_id: str, **options: Any) -> gymnasium.Env:
    """Makes an environment of `ALIASES` with the options of `gymnasium.make`."""
    # From its spec: by name, Gymnasium warns that v4 is out of date.
    environment = gymnasium.make(gymnasium.spec(env_id), **options)
    if env_id not in OBSERVATIONS_BEFORE:
        return environment
    before, forces = OBSERVATIONS_BEFORE[env_id], np.zeros(CONTACT_FORCES)
    return gymnasium.wrappers.TransformObservation(
        environment,
        lambda observation: np.concatenate([observation[:before], forces]),
        gymnasium.spaces.Box(-np.inf, np.inf, (before + CONTACT_FORCES,), np.float64),
    )
