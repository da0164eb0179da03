"""Defines the interface that the training loop needs from a back-end."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dsrl_jax.training.checkpoints.checkpoint import Saved
from dsrl_jax.training.program import Program
from dsrl_jax.training.progress import Progress

# What a back-end trains: a NamedTuple with a field `carry`, an `update.Carry`; else opaque here.
BackendState = Any


class Backend(NamedTuple):
    """A way to play and to train, as functions; `make_backend` of `host` and `device` build one.

    program: the agents' compiled functions
    init: () -> state, before the first episodes
    begin: (state) -> state, at the start of the first episodes
    next_step: (env_step) -> the step up to which `advance` goes at once
    advance: (state, progress, env_step) -> (state, frozen), after that step and its updates; it
      may consume the state that it is given. Raises NotFiniteError
    evaluate: (state, progress) -> returns and lengths [members, episodes], without noise
    sample: (state, env_step) -> a packed batch to inspect the networks with; zeros at step 0
    episodes: (state) -> finished episodes and the last one's return, [members] each
    pack: (state) -> (arrays, counters) for a checkpoint, see `to_saved`
    save: (env_step, state, saved) saves a checkpoint; None: nothing is saved
    restore: (state, like) -> (state, saved), by the last checkpoint that is whole; `saved` has no
      parts if there is none. `like` has the shapes of the parts
    close: () releases files and environments
    """

    program: Program
    init: Callable[[], BackendState]
    begin: Callable[[BackendState], BackendState]
    next_step: Callable[[int], int]
    advance: Callable[[BackendState, Progress, int], tuple[BackendState, np.ndarray]]
    evaluate: Callable[[BackendState, Progress], tuple[np.ndarray, np.ndarray]]
    sample: Callable[[BackendState, int], Any]
    episodes: Callable[[BackendState], tuple[np.ndarray, np.ndarray]]
    pack: Callable[[BackendState], tuple[dict[str, Any], dict[str, list]]]
    save: Callable[[int, BackendState, Saved], None] | None
    restore: Callable[[BackendState, dict[str, Any]], tuple[BackendState, Saved]] | None
    close: Callable[[], None]
