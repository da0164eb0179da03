"""The training loop: which rows a run yields and in which order, on any back-end."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import jax
import numpy as np

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import Experiment
from dsrl_jax.training import progress as progress_lib
from dsrl_jax.training.backend import Backend, BackendState
from dsrl_jax.training.checkpoints.checkpoint import Saved
from dsrl_jax.training.devices import fetch, place
from dsrl_jax.training.nonfinite import exclude, mark_frozen_if_new
from dsrl_jax.training.progress import Progress, after_evaluation, from_saved
from dsrl_jax.training.rows import (
    Row,
    evaluation_rows,
    frozen_rows,
    note_row,
    row_context,
    topology_rows,
    training_rows,
)


class Due(NamedTuple):
    """What follows a step."""

    logged: bool  # training rows
    evaluated: bool
    saved: bool  # if the back-end saves
    stops: bool  # the run ends here, before its last step


def never() -> bool:
    """Returns False: nothing stops the run."""
    return False


def train(
    experiment: Experiment, backend: Backend, stop: Callable[[], bool] = never
) -> Generator[Row, None, None]:
    """Trains all members for `loop.steps` steps, or for the steps that remain after a checkpoint.

    Args:
      stop: returns whether to save and end the run; called after each `advance`.
    Yields:
      First a row of `kind` "start" with the step of the checkpoint, or 0, and a "note" for each
      message to the user. Then, in this order at a step that has all of them, "training" and
      "evaluation", one for each member, "topology", one for each layer, "checkpoint" and "timing".
      When the caller receives "checkpoint", it must write all earlier rows to its files before it
      requests the next row, because the checkpoint records checksums of these files. If `stop`
      ends the run before its last step, the last row is "stopped".
    Raises:
      NotFiniteError: if a number is NaN or infinite; names it, the member, and the step or update.
      RestoreError: if no checkpoint, or not the replay that it names, can be read.
      OSError: if a checkpoint cannot be written.
    """
    loop, seeds = experiment.loop, experiment.seeds
    begun, seconds = time.perf_counter(), {"evaluation_seconds": 0.0, "checkpoint_seconds": 0.0}
    with contextlib.closing(backend):
        state, progress, notes = _start(experiment, backend)
        yield {"kind": "start", "env_step": progress.env_step}
        yield from (note_row(progress.env_step, note) for note in notes)
        if progress.env_step == 0:
            rows, state, progress = evaluate(experiment, backend, state, progress)
            yield from rows
        # Algorithm 1, line 6 and Algorithm 1, line 29; Algorithm 4, line 6 and Algorithm 4, line 24
        while progress.env_step < loop.steps:
            before, env_step = progress.frozen, backend.next_step(progress.env_step)
            # Algorithm 4, line 7 to Algorithm 4, line 11; the updates follow inside `advance`.
            state, frozen = backend.advance(state, progress, env_step)
            progress = progress._replace(env_step=env_step, frozen=frozen)
            yield from frozen_rows(seeds, progress, before)
            due = find_due(loop, env_step, stop)
            if due.logged:
                yield from _training_rows(experiment, backend, state, progress)
                state, progress = _zero_sums(backend, state), progress._replace(logged=env_step)
            if due.evaluated:
                with _timed(seconds, "evaluation_seconds"):
                    rows, state, progress = evaluate(experiment, backend, state, progress)
                yield from rows
            if due.saved and backend.save:
                yield {"kind": "checkpoint", "env_step": env_step}
                with _timed(seconds, "checkpoint_seconds"):
                    backend.save(env_step, state, _to_saved(backend, state, progress))
            if due.evaluated:
                elapsed = {"seconds": time.perf_counter() - begun, **seconds}
                yield {"kind": "timing", "env_step": env_step, **elapsed}
            if due.stops:
                yield {"kind": "stopped", "env_step": env_step}
                return


def find_due(loop: LoopConfig, env_step: int, stop: Callable[[], bool]) -> Due:
    """Returns what is due after a step; after the last one everything is.

    Args:
      stop: called once, but not after the last step.
    """
    is_last = env_step == loop.steps
    stops = not is_last and stop()
    return Due(
        logged=env_step % loop.log_period == 0 or is_last,
        evaluated=env_step % loop.eval_period == 0 or is_last,
        saved=env_step % loop.checkpoint_period == 0 or is_last or stops,
        stops=stops,
    )


def _start(
    experiment: Experiment, backend: Backend
) -> tuple[BackendState, Progress, tuple[str, ...]]:
    """Initialises or restores the run; returns notes for the user."""
    state = backend.init()
    progress = progress_lib.begin(backend.program, state.carry.state, len(experiment.seeds))
    if backend.restore is None:
        return backend.begin(state), progress, ()
    state, saved = backend.restore(state, _to_saved(backend, state, progress).parts)
    if saved.parts:
        return state, from_saved(saved), saved.notes
    return backend.begin(state), progress, saved.notes


def _to_saved(backend: Backend, state: BackendState, progress: Progress) -> Saved:
    packed = backend.pack(state)
    return progress_lib.to_saved(backend.program, state.carry.state, progress, *packed)


def evaluate(
    experiment: Experiment, backend: Backend, state: BackendState, progress: Progress
) -> tuple[list[Row], BackendState, Progress]:
    """Evaluates all members and inspects their networks; returns rows, state and progress.

    Raises:
      NotFiniteError: if a return is not finite and members do not freeze.
    """
    before, step, agents = progress.frozen, progress.env_step, state.carry.state
    returns, lengths = backend.evaluate(state, progress)
    bad = ~np.isfinite(returns).all(axis=1)
    frozen = exclude(experiment, before, bad, "a return", "evaluation at step", step)
    progress = progress._replace(frozen=frozen)
    carry = state.carry
    carry = carry._replace(bad_update=mark_frozen_if_new(frozen, carry.bad_update))

    context = row_context(experiment, progress)
    rows = evaluation_rows(context, returns, lengths)
    means = np.array([row["return_mean"] for row in rows])
    batch = backend.sample(state, step)
    layers = backend.program.inspect(agents, progress.first_masks, progress.masks, batch)
    rows += frozen_rows(experiment.seeds, progress, before)
    rows += topology_rows(context, fetch(layers), has_batch=step > 0)
    progress = after_evaluation(backend.program, agents, progress, means)
    return rows, state._replace(carry=carry), progress


def _training_rows(
    experiment: Experiment, backend: Backend, state: BackendState, progress: Progress
) -> list[Row]:
    """Returns rows of means since the last rows."""
    context = row_context(experiment, progress)
    episodes, last_return = backend.episodes(state)
    return training_rows(
        context,
        updates=context.updates - experiment.updates_at(progress.logged),
        sums=fetch(state.carry.sums),
        connections=fetch(backend.program.connections(state.carry.state)),
        episodes=episodes,
        last_return=last_return,
    )


def _zero_sums(backend: Backend, state: BackendState) -> BackendState:
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state.carry.sums)
    sums = place(backend.program.placement, zeros)
    return state._replace(carry=state.carry._replace(sums=sums))


@contextlib.contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Adds the time that the block takes to a part."""
    start = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - start
