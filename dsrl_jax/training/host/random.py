"""Random numbers on the host: counter-based, so that there is no state to save.

Each draw follows only from (seed, stream, counter). The counter is a step or an episode.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The purpose of a draw; streams of one seed are independent."""

    EPISODE_SEED = 0
    RANDOM_ACTION = 1
    REPLAY_SAMPLE = 2


def generator(seed: int, stream: Stream, counter: int) -> np.random.Generator:
    """Returns a generator; its first 2^64 blocks belong to this counter."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, counter, 0, 0]))


def episode_seed(seed: int, episode: int) -> int:
    """Returns the seed with which a member's training episode is reset."""
    return int(generator(seed, Stream.EPISODE_SEED, episode).integers(2**31))
