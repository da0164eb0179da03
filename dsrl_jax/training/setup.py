"""What a run on the host is made of."""

from collections.abc import Callable
from typing import NamedTuple

import gymnasium
import jax

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from dsrl_jax.training.program import Program


def never() -> bool:
    """A run that nothing stops."""
    return False


class Setup(NamedTuple):
    """The parts of a run; the loop is their order.

    program: the compiled functions of the agent
    environments: one for each member
    evaluation_environments: for each member one per evaluation episode
    replay: empty; knows the members' seeds
    checkpoints: where to save, and where to continue from
    stop: asked after every step whether the run shall save and end
    numbered: whether rows tell the member, see `Experiment.is_numbered`
    freeze_nonfinite: whether a member whose numbers are not finite is frozen, or ends the run
    initial_action: (step, observations [members, n]) -> the actions of the first steps; None: they
      are uniformly random
    """

    program: Program
    batch_size: int
    loop: LoopConfig
    environments: list[gymnasium.Env]
    evaluation_environments: list[list[gymnasium.Env]]
    replay: Replay
    checkpoints: Checkpoints[ReplayFile] | None = None
    stop: Callable[[], bool] = never
    numbered: bool = False
    freeze_nonfinite: bool = False
    initial_action: Callable[..., jax.Array] | None = None
