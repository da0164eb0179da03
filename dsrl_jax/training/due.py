"""What is due after a step of training: the same in both loops."""

from collections.abc import Callable
from typing import NamedTuple

from dsrl_jax.config.loop import LoopConfig


class Due(NamedTuple):
    """What follows a step."""

    logged: bool  # rows of training
    evaluated: bool
    saved: bool  # where there are checkpoints
    stops: bool  # the run ends here, before its last step


def find_due(loop: LoopConfig, env_step: int, stop: Callable[[], bool]) -> Due:
    """What is due after a step; everything is after the last one.

    Args:
      stop: asked once, but after the last step, whether the run shall save and end.
    """
    is_last = env_step == loop.steps
    stops = not is_last and stop()
    return Due(
        logged=env_step % loop.log_period == 0 or is_last,
        evaluated=env_step % loop.eval_period == 0 or is_last,
        saved=env_step % loop.checkpoint_period == 0 or is_last or stops,
        stops=stops,
    )
