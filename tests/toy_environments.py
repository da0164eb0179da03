"""Small Gymnasium environments, usable by name: "tests.toy_environments:PointMass-v0".

Each tests one thing that a training loop has to get right, or for which it has to raise.
"""

import contextlib
import subprocess

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

TIME_LIMIT = 8  # steps; most episodes of a random policy end by it, some leave the region before


class PointMass(gymnasium.Env):
    """A mass on a line, pushed by one force in [-1, 1]; terminates where it leaves (-1, 1).

    The state is float64, as MuJoCo's is. Only the start is random, and a step after the end of an
    episode is an error.
    """

    low, high = (-1.0,), (1.0,)

    def __init__(self):
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(np.float32(self.low), np.float32(self.high))
        self.ended = True

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.velocity = self.np_random.uniform([-0.8, -0.2], [0.8, 0.2])
        self.ended = False
        return self.observe(), {}

    def step(self, action):
        if self.ended:
            raise RuntimeError("the episode has ended")
        assert action.shape == self.action_space.shape and action.dtype == np.float32
        self.velocity += 0.1 * float(action.mean())
        self.position += self.velocity
        self.ended = abs(self.position) >= 1
        return self.observe(), 1 - abs(self.position), self.ended, False, {}

    def observe(self):
        return np.array([self.position, self.velocity])


class Drawn(PointMass):
    """A point mass that renders: a bright column at its position."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def render(self):
        picture = np.zeros((16, 32, 3), np.uint8)
        picture[:, int(np.clip(16 + 16 * self.position, 0, 31))] = 255
        return picture


class Asymmetric(PointMass):
    """Two forces with different bounds, none of them symmetric."""

    low, high = (-1.0, 0.25), (0.5, 2.0)


class Faulty(PointMass):
    """A point mass that breaks at its `fault_step`-th step, if its first seed was odd.

    Steps are counted over all episodes, so that an evaluation at step 0 is over before the fault.
    """

    fault_step = 2 * TIME_LIMIT

    def __init__(self):
        super().__init__()
        self.is_faulty, self.steps = None, 0

    def reset(self, *, seed=None, options=None):
        if self.is_faulty is None:
            self.is_faulty = seed % 2 == 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.steps += 1
        transition = super().step(action)
        broken = self.is_faulty and self.steps >= self.fault_step
        return self.fault(*transition) if broken else transition

    def fault(self, observation, reward, *flags):
        raise NotImplementedError


class NanObservation(Faulty):
    def fault(self, observation, reward, *flags):
        return np.array([observation[0], np.nan]), reward, *flags


class InfiniteReward(Faulty):
    def fault(self, observation, reward, *flags):
        return observation, np.inf, *flags


class HugeReward(Faulty):
    """A finite reward whose square is no finite float32."""

    def fault(self, observation, reward, *flags):
        return observation, 1e38, *flags


class NanEpisode(PointMass):
    """A point mass with a reward of NaN at the third step, in episodes of a few seeds.

    Which ones follows only from the episode's seed, so that a run repeats.
    """

    def reset(self, *, seed=None, options=None):
        self.breaks, self.steps = seed is not None and seed % 20 == 0, 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.steps += 1
        observation, reward, *flags = super().step(action)
        return observation, np.nan if self.breaks and self.steps == 3 else reward, *flags


class DyingWorker(PointMass):
    """A point mass with a worker process, which dies at the 30th step."""

    def __init__(self):
        super().__init__()
        self.worker, self.steps = subprocess.Popen(["cat"], stdin=subprocess.PIPE), 0

    def step(self, action):
        self.steps += 1
        if self.steps == 30:
            self.worker.kill()
            self.worker.wait()
        self.worker.stdin.write(b"?")
        self.worker.stdin.flush()
        return super().step(action)

    def close(self):
        self.worker.kill()
        self.worker.wait()
        with contextlib.suppress(BrokenPipeError):
            self.worker.stdin.close()


class DiscreteAction(PointMass):
    def __init__(self):
        super().__init__()
        self.action_space = Discrete(3)


class MatrixAction(PointMass):
    def __init__(self):
        super().__init__()
        self.action_space = Box(-1, 1, (2, 2))


class UnboundedAction(PointMass):
    low, high = (-1.0, -np.inf), (1.0, 1.0)


class WideUnboundedAction(PointMass):
    """So many dimensions that NumPy prints their bounds on several lines."""

    low, high = (*[-1.25] * 30, -np.inf), (1.0,) * 31


class Image(PointMass):
    def __init__(self):
        super().__init__()
        self.observation_space = Box(0, 255, (4, 4), np.uint8)


class DiscreteObservation(PointMass):
    def __init__(self):
        super().__init__()
        self.observation_space = Discrete(5)


for _environment in (
    PointMass,
    Drawn,
    Asymmetric,
    NanObservation,
    InfiniteReward,
    HugeReward,
    NanEpisode,
    DyingWorker,
    DiscreteAction,
    MatrixAction,
    UnboundedAction,
    WideUnboundedAction,
    Image,
    DiscreteObservation,
):
    _id = f"{_environment.__name__}-v0"
    gymnasium.register(_id, entry_point=_environment, max_episode_steps=TIME_LIMIT)
