"""Where the members of a run stand, beside what is compiled."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Progress:
    """Where each member stands; all arrays are [members, …]."""

    env_step: int
    logged: int  # the step of the last training rows
    observation: np.ndarray  # float32, what the next action answers
    action: np.ndarray  # float32, the next one
    episode: np.ndarray  # episodes begun before this one
    length: np.ndarray  # steps of the running episode
    episode_return: np.ndarray  # reward of the running episode
    last_return: np.ndarray  # of the last finished episode, NaN before the first
    best_return: np.ndarray  # highest mean return of an evaluation, -inf before the first
    best_step: np.ndarray  # of that evaluation
    frozen: np.ndarray  # the step at which it was frozen, -1 while it trains

    COUNTERS = (
        "episode",
        "length",
        "episode_return",
        "last_return",
        "best_return",
        "best_step",
    )

    @property
    def trains(self) -> np.ndarray:
        """Which members are not frozen."""
        return self.frozen < 0

    def freeze(self, members: np.ndarray, step: int | np.ndarray) -> None:
        """Freezes some of the members at a step, those that are not yet."""
        self.frozen = np.where(members & self.trains, step, self.frozen)

    @classmethod
    def begin(cls, members: int, observation_size: int, action_size: int) -> "Progress":
        """Before the first step."""
        return cls(
            env_step=0,
            logged=0,
            observation=np.zeros((members, observation_size), np.float32),
            action=np.zeros((members, action_size), np.float32),
            episode=np.zeros(members, np.int64),
            length=np.zeros(members, np.int64),
            episode_return=np.zeros(members),
            last_return=np.full(members, np.nan),
            best_return=np.full(members, -np.inf),
            best_step=np.zeros(members, np.int64),
            frozen=np.full(members, -1),
        )
