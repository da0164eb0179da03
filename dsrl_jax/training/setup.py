"""What a run on the host is made of."""

from typing import NamedTuple

import gymnasium

from dsrl_jax.training.checkpoint import Checkpoints
from dsrl_jax.training.config import LoopConfig
from dsrl_jax.training.program import Program
from dsrl_jax.training.replay import Replay


class Setup(NamedTuple):
    """The parts of a run; the loop is their order.

    program: the compiled functions of the agent
    environments: one for each member
    evaluation_environments: for each member one per evaluation episode
    replay: empty; knows the members' seeds
    checkpoints: where to save, at every evaluation, and where to continue from
    """

    program: Program
    batch_size: int
    loop: LoopConfig
    environments: list[gymnasium.Env]
    evaluation_environments: list[list[gymnasium.Env]]
    replay: Replay
    checkpoints: Checkpoints | None = None
