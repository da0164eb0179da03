"""What defines a `-v3` task in any simulator: sizes, reward and falls, written from Gym's v3."""

from typing import NamedTuple

import numpy as np


class V3Task(NamedTuple):
    observation_size: int
    action_size: int
    always_zero: tuple[int, ...]  # dimensions of the observation
    step_seconds: float
    forward_weight: float
    control_weight: float
    healthy_reward: float
    healthy_height: tuple[float, float]  # of observation 0
    healthy_angle: float  # largest absolute value of observation 1


ANYTHING = (-np.inf, np.inf)
# Contact forces last. Humanoid also has inertia and velocity of the world body, which comes first
# of 14, and the actuator forces of the root, which has none.
ANT_ZEROS = tuple(range(27, 111))
HUMANOID_ZEROS = (*range(45, 55), *range(185, 191), *range(269, 275), *range(292, 376))

TASKS = {
    "halfcheetah": V3Task(17, 6, (), 0.05, 1, 0.1, 0, ANYTHING, np.inf),
    "hopper": V3Task(11, 3, (), 0.008, 1, 1e-3, 1, (0.7, np.inf), 0.2),
    "walker2d": V3Task(17, 6, (), 0.008, 1, 1e-3, 1, (0.8, 2.0), 1.0),
    "ant": V3Task(111, 8, ANT_ZEROS, 0.05, 1, 0.5, 1, (0.2, 1.0), np.inf),
    "humanoid": V3Task(376, 17, HUMANOID_ZEROS, 0.015, 1.25, 0.1, 5, (1.0, 2.0), np.inf),
}
FALLING = ("hopper", "walker2d", "ant", "humanoid")


class Steps(NamedTuple):
    """The transitions of a random policy, one row a step, over several episodes."""

    action: np.ndarray
    observation: np.ndarray  # after the step
    reward: np.ndarray
    terminated: np.ndarray
    moved: np.ndarray  # metres along x in this step; NaN on the first step of an episode


def random_steps(environment, count, seed=0):
    """Plays `count` steps; episode k is reset with seed k."""
    rng = np.random.default_rng(seed)
    space = environment.action_space
    rows, episode, position = [], 0, np.nan
    environment.reset(seed=episode)
    for _ in range(count):
        action = rng.uniform(space.low, space.high).astype(np.float32)
        observation, reward, terminated, truncated, info = environment.step(action)
        rows.append((action, observation, reward, terminated, info["x_position"] - position))
        position = info["x_position"]
        if terminated or truncated:
            episode, position = episode + 1, np.nan
            environment.reset(seed=episode)
    environment.close()
    return Steps(*map(np.array, zip(*rows, strict=True)))


def check_always_zero(task, steps):
    always_zero = np.flatnonzero((steps.observation == 0).all(axis=0))
    np.testing.assert_array_equal(always_zero, task.always_zero)


def check_reward(task, steps):
    """Checks that it is forward, healthy and control; the healthy part also at a fall."""
    control = task.control_weight * (steps.action.astype(float) ** 2).sum(axis=1)
    forward = task.forward_weight * steps.moved / task.step_seconds
    expected = forward + task.healthy_reward - control
    known = ~np.isnan(steps.moved)
    np.testing.assert_allclose(steps.reward[known], expected[known], rtol=1e-5, atol=1e-5)


def check_falls(task, steps):
    """An episode ends by a fall, and its last observation is the fallen one."""
    height, angle = steps.observation[:, 0], steps.observation[:, 1]
    lowest, highest = task.healthy_height
    fallen = (height < lowest) | (height > highest) | (np.abs(angle) > task.healthy_angle)
    np.testing.assert_array_equal(steps.terminated, fallen)
