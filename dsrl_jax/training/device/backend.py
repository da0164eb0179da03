"""Training on the device: from one row to the next in one compiled loop, all members at once."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.loop import BraxConfig
from dsrl_jax.config.presets import Experiment
from dsrl_jax.training.backend import Backend
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints, Saved
from dsrl_jax.training.device.checkpoints import DeviceCheckpoints
from dsrl_jax.training.device.program import DeviceProgram, DeviceState
from dsrl_jax.training.device.replay import count_columns, make_ring
from dsrl_jax.training.device.replay_file import DeviceReplayFile
from dsrl_jax.training.devices import compile_on, fetch, is_first_process, place
from dsrl_jax.training.nonfinite import exclude, exclude_losses
from dsrl_jax.training.program import Program
from dsrl_jax.training.progress import Progress


def make_backend(
    experiment: Experiment,
    spaces: Spaces,
    program: Program,
    device: DeviceProgram,
    directory: Path | None = None,
    tables: tuple[Path, ...] = (),
) -> Backend:
    """Binds an experiment to its compiled programs and opens the checkpoints.

    A step is a transition of each member; its settings in steps are multiples of num_envs.

    Args:
      directory, tables: as of `host.backend.make_backend`. Of several processes that train one
        run, only the first one writes there; the others save nothing.
    """
    loop, brax, placement = experiment.loop, experiment.brax, program.placement
    assert brax
    capacity = min(loop.replay_size, loop.steps)
    make_rows = compile_on(placement, partial(make_ring, placement.each, capacity, spaces), ())
    checkpoints = _open_checkpoints(experiment, spaces, directory, tables) if directory else None
    return Backend(
        program=program,
        init=lambda: device.start(program.init(), make_rows()),
        begin=lambda state: state,
        next_step=partial(_next_step, experiment, saves=checkpoints is not None),
        advance=partial(_advance, experiment, brax, device),
        evaluate=lambda state, progress: _evaluate(device, state),
        sample=lambda state, env_step: device.sample(
            state.rows, np.int32(max(env_step, 1)), np.int32(experiment.updates_at(env_step))
        ),
        episodes=lambda state: (
            fetch(state.episodes.number).sum(axis=1),
            fetch(state.last_return),
        ),
        pack=lambda state: ({"world": _to_leaves(state)}, {}),
        save=(lambda step, state, saved: checkpoints.save(step, saved, state.rows))
        if checkpoints
        else None,
        restore=partial(_restore, device, checkpoints) if checkpoints else None,
        close=checkpoints.close if checkpoints else lambda: None,
    )


def _open_checkpoints(
    experiment: Experiment, spaces: Spaces, directory: Path, tables: tuple[Path, ...]
) -> DeviceCheckpoints:
    if not is_first_process():
        return DeviceCheckpoints(None)
    members, columns = len(experiment.seeds), count_columns(spaces)
    replay_file = DeviceReplayFile(directory / "replay", members, columns)
    return DeviceCheckpoints(Checkpoints(directory / "checkpoints", replay_file, tables))


def _next_step(experiment: Experiment, env_step: int, *, saves: bool) -> int:
    """Returns the next step at which something is due."""
    loop = experiment.loop
    periods = [loop.steps, loop.log_period, loop.eval_period]
    periods += [loop.checkpoint_period] if saves else []
    return min((env_step // period + 1) * period for period in periods)


def _advance(
    experiment: Experiment,
    brax: BraxConfig,
    device: DeviceProgram,
    state: DeviceState,
    progress: Progress,
    env_step: int,
) -> tuple[DeviceState, np.ndarray]:
    """Advances all environments to a step; returns who is frozen by then. Raises NotFiniteError."""
    num_envs = brax.num_envs
    first, last = progress.env_step // num_envs + 1, env_step // num_envs
    state = device.advance(state, np.int32(first), np.int32(last))
    bad_update, bad_step = fetch((state.carry.bad_update, state.bad_step))
    vector_steps = -(-bad_update // brax.updates)
    of_updates = experiment.loop.steps_before_updates + vector_steps * num_envs
    frozen = exclude_losses(experiment, progress.frozen, bad_update, of_updates)
    frozen = exclude(experiment, frozen, bad_step > 0, "a transition", "step", bad_step)
    return state, frozen


def _evaluate(device: DeviceProgram, state: DeviceState) -> tuple[np.ndarray, np.ndarray]:
    returns, lengths = fetch(device.evaluate(state.carry.state))
    return returns.astype(float), lengths


def _restore(
    device: DeviceProgram, checkpoints: DeviceCheckpoints, state: DeviceState, like: dict[str, Any]
) -> tuple[DeviceState, Saved]:
    saved, ring = checkpoints.restore(like, state.rows.shape[1])
    if ring is None:
        return state, saved
    state.rows.delete()  # The device need not have room for two replays.
    return _from_leaves(device, state, saved.parts["state"]["world"], ring), saved


def _to_leaves(state: DeviceState) -> dict[str, Any]:
    """Returns all arrays but the replay's, by number, because simulators have trees of any kind.

    Empty arrays are left out: Orbax saves none.
    """
    leaves = jax.tree.leaves(_without_rows(state))
    return {str(number): fetch(leaf) for number, leaf in enumerate(leaves) if leaf.size}


def _from_leaves(
    device: DeviceProgram, like: DeviceState, saved: dict[str, Any], rows: np.ndarray
) -> DeviceState:
    leaves, tree = jax.tree.flatten(_without_rows(like))
    filled = [saved.get(str(number), leaf) for number, leaf in enumerate(leaves)]
    parts = jax.tree.unflatten(tree, filled)
    return DeviceState(**place(device.placement, {**parts, "rows": rows}))


def _without_rows(state: DeviceState) -> dict[str, Any]:
    return {name: part for name, part in state._asdict().items() if name != "rows"}
