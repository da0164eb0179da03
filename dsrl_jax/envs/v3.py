"""The nearest to the paper's `-v3` tasks on today's Gymnasium, as data.

The `-v3` tasks pay the healthy reward on the step that falls too, and observe contact forces that
their MuJoCo left at 0: no cost of contact is ever paid. Gymnasium's v4 keeps the first; its v5
pays nothing for the fall, and subtracts contact costs in Ant and Humanoid. Dynamics, reset noise,
the other rewards and the limit of 1000 steps are the same in v4 and v5 but for Walker2d's foot.
"""

from typing import Any

import gymnasium
import numpy as np

ALIASES = {
    "halfcheetah": "HalfCheetah-v5",  # never falls, and nothing but names in `info` has changed
    "hopper": "Hopper-v4",  # pays for the fall
    "walker2d": "Walker2d-v4",  # pays for the fall; v5 doubled the friction of the right foot
    "ant": "Ant-v4",  # pays for the fall, no cost of contact
    "humanoid": "Humanoid-v4",  # pays for the fall, no cost of contact
}

CONTACT_FORCES = 84  # the last observations of the two: 6 for each of 14 bodies

# How many observations come before the contact forces, which are 0.
OBSERVATIONS_BEFORE = {
    "Ant-v4": 27,  # leaves the forces out; with them, λ1 = 40 means the paper's sparsity
    "Humanoid-v4": 292,  # computes the forces
}


def make(env_id: str, **options: Any) -> gymnasium.Env:
    """Makes an environment of the table above; options as of `gymnasium.make`.

    Silently: Gymnasium warns of an id of v4, which is a choice here. It does so for names only, so
    that the environment is made from its spec.
    """
    environment = gymnasium.make(gymnasium.spec(env_id), **options)
    if env_id not in OBSERVATIONS_BEFORE:
        return environment
    before, forces = OBSERVATIONS_BEFORE[env_id], np.zeros(CONTACT_FORCES)
    return gymnasium.wrappers.TransformObservation(
        environment,
        lambda observation: np.concatenate([observation[:before], forces]),
        gymnasium.spaces.Box(-np.inf, np.inf, (before + CONTACT_FORCES,), np.float64),
    )
