"""Training on the device: from one row to the next in one compiled loop, all members at once."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from dsrl_jax.config.presets import Experiment
from dsrl_jax.training.checkpoints.checkpoint import Saved
from dsrl_jax.training.device.checkpoints import DeviceCheckpoints
from dsrl_jax.training.device.program import DeviceProgram, DeviceState
from dsrl_jax.training.devices import fetch, place
from dsrl_jax.training.due import find_due
from dsrl_jax.training.finite import NotFiniteError, check_losses, check_returns, name_member
from dsrl_jax.training.frozen import tell_carry, tell_frozen
from dsrl_jax.training.history import History, begin, remember
from dsrl_jax.training.program import Program
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.rows import Row, RowContext, tell_evaluation, tell_topology, tell_training
from dsrl_jax.training.setup import never
from dsrl_jax.training.timer import Timer

# Of `Progress`, what is not on the device.
COUNTERS = ("best_return", "best_step")


class DeviceSetup(NamedTuple):
    """The parts of a run on the device; the loop is their order.

    experiment: with settings in steps that are multiples of num_envs
    program, device: the compiled functions of the agent, and of the agent in its environments
    make_rows: the empty replay
    checkpoints: where to save, and where to continue from
    stop: asked wherever rows are due whether the run shall save and end
    """

    experiment: Experiment
    program: Program
    device: DeviceProgram
    make_rows: Callable[[], jax.Array]
    checkpoints: DeviceCheckpoints | None = None
    stop: Callable[[], bool] = never

    @property
    def num_envs(self) -> int:
        """Environments of each member."""
        assert self.experiment.brax
        return self.experiment.brax.num_envs


def train(setup: DeviceSetup) -> Iterator[Row]:
    """Trains all members for `loop.steps` transitions each, or what is left after a checkpoint.

    Yields:
      The rows of `host_loop.train`, in its order; a step is a transition.
    Raises:
      As `host_loop.train`; numbers that are not finite are noticed when the next rows are due.
    """
    loop, seeds = setup.experiment.loop, setup.experiment.seeds
    timer = Timer()
    world, progress, history, notes = _start(setup)
    yield {"kind": "start", "env_step": progress.env_step}
    yield from ({"kind": "note", "env_step": progress.env_step, "text": note} for note in notes)
    if progress.env_step == 0:
        rows, history = _evaluate(setup, world, progress, history)
        world = world._replace(carry=tell_carry(world.carry, progress))
        yield from rows
    for env_step in _stops(setup, progress.env_step):
        world, frozen = _advance(setup, world, progress, env_step), progress.frozen
        _check(setup, world, progress)
        yield from tell_frozen(seeds, progress, frozen)
        due = find_due(loop, env_step, setup.stop)
        if due.logged:
            yield from _training_rows(setup, world, progress)
            world = _forget_sums(setup, world)
            progress.logged = env_step
        if due.evaluated:
            with timer.measuring("evaluation_seconds"):
                rows, history = _evaluate(setup, world, progress, history)
            world = world._replace(carry=tell_carry(world.carry, progress))
            yield from rows
        if setup.checkpoints and due.saved:
            yield {"kind": "checkpoint", "env_step": env_step}
            with timer.measuring("checkpoint_seconds"):
                saved = to_saved(setup, world, progress, history)
                setup.checkpoints.save(env_step, saved, world.rows)
        if due.evaluated:
            yield timer.row(env_step)
        if due.stops:
            yield {"kind": "stopped", "env_step": env_step}
            return


def _stops(setup: DeviceSetup, done: int) -> list[int]:
    """The steps after `done` at which something is due, in order."""
    loop = setup.experiment.loop
    periods = [loop.log_period, loop.eval_period]
    periods += [loop.checkpoint_period] if setup.checkpoints else []
    due = itertools.chain(*(range(period, loop.steps, period) for period in periods))
    return sorted({step for step in (*due, loop.steps) if step > done})


def _advance(
    setup: DeviceSetup, world: DeviceState, progress: Progress, env_step: int
) -> DeviceState:
    first, last = progress.env_step // setup.num_envs + 1, env_step // setup.num_envs
    progress.env_step = env_step
    return setup.device.advance(world, np.int32(first), np.int32(last))


def _check(setup: DeviceSetup, world: DeviceState, progress: Progress) -> None:
    """Holds every loss, observation, action and reward so far to be finite, or freezes members."""
    if setup.experiment.freeze_nonfinite:
        _freeze(setup, world, progress)
        return
    seeds = setup.experiment.seeds
    bad_update, bad_step = fetch((world.carry.bad_update, world.bad_step))
    check_losses(world.carry._replace(bad_update=bad_update), seeds)
    for member, step in enumerate(bad_step.tolist()):
        if step:
            who = name_member(member, seeds)
            raise NotFiniteError(f"{who}, step {step}: a transition is not finite")


def _freeze(setup: DeviceSetup, world: DeviceState, progress: Progress) -> None:
    """Notes the members that the program has frozen, and the step at which it did."""
    experiment, each = setup.experiment, setup.num_envs
    assert experiment.brax
    bad_update, bad_step = np.asarray(world.carry.bad_update), np.asarray(world.bad_step)
    vector_steps = -(-bad_update // experiment.brax.updates)
    by_update = experiment.loop.steps_before_updates + vector_steps * each
    progress.freeze(bad_update > 0, by_update)
    progress.freeze((bad_update < 0) & (bad_step > 0), bad_step)


def _moment(setup: DeviceSetup, progress: Progress) -> RowContext:
    experiment = setup.experiment
    updates = experiment.updates_at(progress.env_step)
    frozen = progress.frozen if experiment.freeze_nonfinite else None
    return RowContext(experiment.seeds, progress.env_step, updates, experiment.is_numbered, frozen)


def _training_rows(setup: DeviceSetup, world: DeviceState, progress: Progress) -> list[Row]:
    moment = _moment(setup, progress)
    return tell_training(
        moment,
        updates=moment.updates - setup.experiment.updates_at(progress.logged),
        sums=fetch(world.carry.sums),
        connections=fetch(setup.program.connections(world.carry.state)),
        episodes=fetch(world.episodes.number).sum(axis=1),
        last_return=fetch(world.last_return),
    )


def _forget_sums(setup: DeviceSetup, world: DeviceState) -> DeviceState:
    """The world with sums that begin anew; they are not read again before the next rows."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), world.carry.sums)
    sums = place(setup.device.placement, zeros)
    return world._replace(carry=world.carry._replace(sums=sums))


def _evaluate(
    setup: DeviceSetup, world: DeviceState, progress: Progress, history: History
) -> tuple[list[Row], History]:
    """The rows of an evaluation, and what to remember of it. Raises NotFiniteError."""
    state, frozen = world.carry.state, progress.frozen
    returns, lengths = fetch(setup.device.evaluate(state))
    returns = returns.astype(float)
    if setup.experiment.freeze_nonfinite:
        progress.freeze(~np.isfinite(returns).all(axis=1), progress.env_step)
    else:
        check_returns(returns, progress, setup.experiment.seeds)
    moment = _moment(setup, progress)
    rows = tell_evaluation(moment, returns, lengths)
    packed = setup.device.sample(
        world.rows, np.int32(max(progress.env_step, 1)), np.int32(moment.updates)
    )
    found = setup.program.inspect(state, history.first_masks, history.masks, packed)
    rows += tell_topology(moment, fetch(found), seen=progress.env_step > 0)
    means = np.array([row["return_mean"] for row in rows[: len(moment.seeds)]])
    rows += tell_frozen(moment.seeds, progress, frozen)
    return rows, remember(setup.program, world.carry, progress, means, history)


def _start(setup: DeviceSetup) -> tuple[DeviceState, Progress, History, list[str]]:
    """The world, at the beginning or as a checkpoint has it, and what is to be told of that."""
    carry, checkpoints = setup.program.init(), setup.checkpoints
    history = begin(setup.program, carry)
    progress = Progress.begin(len(setup.experiment.seeds), 0, 0)  # What acts is on the device.
    world = setup.device.start(carry, setup.make_rows())
    if not checkpoints:
        return world, progress, history, []
    like = to_saved(setup, world, progress, history).parts
    saved, ring = checkpoints.restore(like, world.rows.shape[1])
    if ring is None:
        return world, progress, history, list(saved.notes)
    parts = jax.tree.map(np.asarray, saved.parts)
    state, best = parts["state"], parts["policies"]["best"]
    history = History(state["first_masks"], state["masks"], best)
    progress.env_step, progress.logged = saved.record["env_step"], saved.record["logged"]
    for name in COUNTERS:
        getattr(progress, name)[:] = saved.record[name]
    progress.frozen[:] = saved.record.get("frozen", -1)
    world.rows.delete()  # The device need not have room for two replays.
    world = _from_leaves(setup, world, state["world"], ring)
    return world, progress, history, list(saved.notes)


def to_saved(setup: DeviceSetup, world: DeviceState, progress: Progress, history: History) -> Saved:
    """Everything that a run goes on from, beside its replay; parts as in `host_loop.to_saved`."""
    record = {name: getattr(progress, name).tolist() for name in COUNTERS}
    state = {
        "world": _to_leaves(world),
        "first_masks": history.first_masks,
        "masks": history.masks,
    }
    policies = {"last": setup.program.policy(world.carry.state), "best": history.best}
    counters: dict[str, Any] = {"env_step": progress.env_step, "logged": progress.logged}
    if not progress.trains.all():
        counters["frozen"] = progress.frozen.tolist()
    return Saved({"state": state, "policies": policies}, counters | record)


def _to_leaves(world: DeviceState) -> dict[str, Any]:
    """All arrays but the replay's, by number: simulators have trees of any kind.

    Orbax saves no empty arrays.
    """
    leaves = jax.tree.leaves(_beside_rows(world))
    return {str(number): fetch(leaf) for number, leaf in enumerate(leaves) if leaf.size}


def _from_leaves(
    setup: DeviceSetup, like: DeviceState, held: dict[str, Any], rows: np.ndarray
) -> DeviceState:
    leaves, tree = jax.tree.flatten(_beside_rows(like))
    filled = [held.get(str(number), leaf) for number, leaf in enumerate(leaves)]
    parts = jax.tree.unflatten(tree, filled)
    return DeviceState(**place(setup.device.placement, {**parts, "rows": rows}))


def _beside_rows(world: DeviceState) -> dict[str, Any]:
    return {name: part for name, part in world._asdict().items() if name != "rows"}
