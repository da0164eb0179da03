"""Defines what the loop stores on the host between two steps; the same for all back-ends."""

from typing import Any, NamedTuple

import jax
import numpy as np

from dsrl_jax.agents.types import State
from dsrl_jax.training.checkpoints.checkpoint import Saved
from dsrl_jax.training.program import Program


class Progress(NamedTuple):
    """The progress of a run. Arrays are NumPy arrays [members]; trees have leaves [members, …].

    env_step: environment steps done
    logged: the step of the last training rows
    frozen: the step at which a member was frozen, -1 while it trains
    best_return: each member's highest mean return of an evaluation so far, -inf before the first
    best_step: the step of that evaluation, the first of equal ones
    best: the policy's parameters at that evaluation
    first_masks: the masks before the first update
    masks: the masks at the last evaluation; the next one counts churn from them
    """

    env_step: int
    logged: int
    frozen: np.ndarray
    best_return: np.ndarray
    best_step: np.ndarray
    best: Any
    first_masks: Any
    masks: Any

    @property
    def trains(self) -> np.ndarray:
        """Whether each member still trains (is not frozen), bool [members]."""
        return self.frozen < 0


def begin(program: Program, state: State, members: int) -> Progress:
    """Returns the progress of a run before its first step, from the agents' first state."""
    masks = program.masks(state)
    return Progress(
        env_step=0,
        logged=0,
        frozen=np.full(members, -1),
        best_return=np.full(members, -np.inf),
        best_step=np.zeros(members, np.int64),
        best=program.policy(state),
        first_masks=masks,
        masks=masks,
    )


def after_evaluation(
    program: Program, state: State, progress: Progress, returns: np.ndarray
) -> Progress:
    """Updates the best policies and the masks by an evaluation's mean returns [members].

    The rows of the evaluation count churn from the masks before: make them first.
    """
    better = returns > progress.best_return

    def keep_better(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return progress._replace(
        best_return=np.where(better, returns, progress.best_return),
        best_step=np.where(better, progress.env_step, progress.best_step),
        best=jax.tree.map(keep_better, program.policy(state), progress.best),
        masks=program.masks(state),
    )


def to_saved(
    program: Program,
    state: State,
    progress: Progress,
    arrays: dict[str, Any],
    counters: dict[str, list],
) -> Saved:
    """Returns the content of a checkpoint, all of a run but its replay.

    The policies are a separate part, so that they can be read without the rest of the state,
    which may differ between algorithms and versions.

    Args:
      state: of the agents.
      arrays, counters: of the back-end.
    """
    masks = {"first_masks": progress.first_masks, "masks": progress.masks}
    policies = {"last": program.policy(state), "best": progress.best}
    record: dict[str, Any] = {"env_step": progress.env_step, "logged": progress.logged}
    if not progress.trains.all():
        record["frozen"] = progress.frozen.tolist()
    best = {name: getattr(progress, name).tolist() for name in ("best_return", "best_step")}
    return Saved({"state": arrays | masks, "policies": policies}, record | counters | best)


def from_saved(saved: Saved) -> Progress:
    """Returns the progress that `to_saved` was given."""
    record, state = saved.record, saved.parts["state"]
    members = len(record["best_return"])
    return Progress(
        env_step=record["env_step"],
        logged=record["logged"],
        frozen=np.array(record.get("frozen", [-1] * members)),
        best_return=np.array(record["best_return"], float),
        best_step=np.array(record["best_step"], np.int64),
        best=saved.parts["policies"]["best"],
        first_masks=state["first_masks"],
        masks=state["masks"],
    )
