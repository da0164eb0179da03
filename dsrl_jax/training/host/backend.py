"""Training on Gymnasium: members in lockstep, one environment each, one compiled call a step."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import jax
import numpy as np

from dsrl_jax.training.checkpoints.checkpoint import Saved
from dsrl_jax.training.devices import place
from dsrl_jax.training.due import find_due
from dsrl_jax.training.finite import check_action, check_losses, check_transition
from dsrl_jax.training.frozen import freeze_transitions, freeze_updates, tell_carry, tell_frozen
from dsrl_jax.training.history import History, begin, remember
from dsrl_jax.training.host.random import Stream, episode_seed, generator
from dsrl_jax.training.program import Program
from dsrl_jax.training.progress import Progress
from dsrl_jax.training.rows import Row, evaluation_rows, topology_rows, training_rows
from dsrl_jax.training.setup import Setup
from dsrl_jax.training.timer import Timer
from dsrl_jax.training.update import Carry


def train(setup: Setup) -> Iterator[Row]:
    """Trains all members for `loop.steps` steps, or what is left of them after a checkpoint.

    Yields:
      First a row of `kind` "start": the step of the checkpoint, or 0; and a "note" for each thing
      that is not as it should be. Then "training" and "evaluation", one for each member,
      "topology", one for each layer, "checkpoint" and "timing"; in this order at a step that has
      all of them. What a reader writes of rows before "checkpoint" has to be in its files when it
      asks for the next one: the checkpoint that is written then names what they hold. A run that
      `stop` ended before its last step tells "stopped" last.
    Raises:
      NotFiniteError: names the step, the member, and what was not finite.
      RestoreError: if no checkpoint, or not the replay that it names, can be read.
      OSError: if the disk does not take what is saved.
    """
    loop, seeds = setup.loop, setup.replay.seeds
    timer = Timer()
    carry, progress, history, notes = _start(setup)
    yield {"kind": "start", "env_step": progress.env_step}
    yield from ({"kind": "note", "env_step": progress.env_step, "text": note} for note in notes)
    if progress.env_step == 0:
        rows, carry, history = evaluate(setup, carry, progress, history)
        yield from rows
        _choose_action(setup, setup.program.compact(carry), progress)
    stepped = setup.program.compact(carry)
    for env_step in range(progress.env_step + 1, loop.steps + 1):
        progress.env_step, frozen = env_step, progress.frozen
        stepped = _step(setup, stepped, progress)
        yield from tell_frozen(seeds, progress, frozen)
        due = find_due(loop, env_step, setup.stop)
        if not any(due):
            continue
        carry = setup.program.expand(stepped)
        if not setup.freeze_nonfinite:
            check_losses(carry, seeds)
        if due.logged:
            yield from training_rows(setup, carry, progress)
            carry = _forget_sums(setup, carry)
            progress.logged = env_step
        if due.evaluated:
            with timer.measuring("evaluation_seconds"):
                rows, carry, history = evaluate(setup, carry, progress, history)
            yield from rows
        if setup.checkpoints and due.saved:
            yield {"kind": "checkpoint", "env_step": env_step}
            with timer.measuring("checkpoint_seconds"):
                saved = to_saved(setup.program, carry, progress, history)
                setup.checkpoints.save(env_step, saved)
        if due.evaluated:
            yield timer.row(env_step)
        if due.stops:
            yield {"kind": "stopped", "env_step": env_step}
            return
        stepped = setup.program.compact(carry)


def evaluate(
    setup: Setup, carry: Carry, progress: Progress, history: History
) -> tuple[list[Row], Carry, History]:
    """The rows of an evaluation, whom it froze, what to remember of it. Raises NotFiniteError."""
    frozen = progress.frozen
    rows = evaluation_rows(setup, carry, progress)
    returns = np.array([row["return_mean"] for row in rows])
    rows += tell_frozen(setup.replay.seeds, progress, frozen)
    rows += topology_rows(setup, carry, progress, history.first_masks, history.masks)
    history = remember(setup.program, carry, progress, returns, history)
    return rows, tell_carry(carry, progress), history


def _forget_sums(setup: Setup, carry: Carry) -> Carry:
    """The carry with sums that begin anew."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), carry.sums)
    return carry._replace(sums=_place(setup, zeros))


def _start(setup: Setup) -> tuple[Carry, Progress, History, list[str]]:
    """The state, at the beginning or as a checkpoint has it, and what is to be told of that."""
    environments, replay, checkpoints = setup.environments, setup.replay, setup.checkpoints
    carry = setup.program.init()
    history = begin(setup.program, carry)
    progress = Progress.begin(len(environments), replay.observation_size, replay.action_size)
    like = to_saved(setup.program, carry, progress, history).parts
    saved = checkpoints.restore(like) if checkpoints else Saved({}, {})
    if not saved.parts:
        for member, seed in enumerate(replay.seeds):
            progress.observation[member] = _reset(environments[member], seed, progress, member)
        return carry, progress, history, list(saved.notes)
    # As plain arrays: those that come from a checkpoint would compile a program of their own.
    parts = jax.tree.map(np.asarray, saved.parts)
    state, best = parts["state"], parts["policies"]["best"]
    history = History(state["first_masks"], state["masks"], best)
    progress.action = np.array(state["action"])
    progress.env_step, progress.logged = saved.record["env_step"], saved.record["logged"]
    for name in Progress.COUNTERS:
        getattr(progress, name)[:] = saved.record[name]
    progress.frozen[:] = saved.record.get("frozen", -1)
    progress.observation[:] = state["observation"]
    _play_again(setup, progress)
    notes = list(saved.notes)
    if not np.array_equal(progress.observation, state["observation"]):
        notes.append("the environment does not repeat its episodes: this run is no exact resume")
    return _place(setup, state["carry"]), progress, history, notes


def _place(setup: Setup, tree: Any) -> Any:
    """Arrays of members where the compiled functions expect them; on one device anywhere."""
    placement = setup.program.placement
    return place(placement, tree) if placement and placement.mesh else tree


def _play_again(setup: Setup, progress: Progress) -> None:
    """Brings every environment to where its running episode stood, by that episode's actions.

    Those of frozen members are never stepped again. No more is saved of an environment: setting a
    simulator's state back would not be exact.
    """
    assert setup.checkpoints
    actions_of = setup.checkpoints.replay_file.last_actions
    for member in np.flatnonzero(progress.trains).tolist():
        environment, seed = setup.environments[member], setup.replay.seeds[member]
        progress.observation[member] = _reset(environment, seed, progress, member)
        for action in actions_of(progress.env_step, member, int(progress.length[member])):
            progress.observation[member] = environment.step(action)[0]


def _step(setup: Setup, carry: Carry, progress: Progress) -> Carry:
    """One step of every environment, one update, and the actions of the next step.

    Args:
      carry: with a compact state, as `Program.step` takes and gives it.
    """
    env_step, replay = progress.env_step, setup.replay
    update = setup.loop.updates_at(env_step)
    transition = _step_environments(setup, progress)
    replay.add(*transition)
    if setup.checkpoints:
        setup.checkpoints.replay_file.add(*transition)
    if setup.freeze_nonfinite:
        carry = tell_carry(carry, progress)
    if update:
        packed = replay.sample(setup.batch_size, env_step)
        carry, action = setup.program.step(
            carry, packed, progress.observation, np.int32(update), np.int32(env_step + 1)
        )
        progress.action = np.array(action)
        if setup.freeze_nonfinite:
            carry = freeze_updates(carry, progress)
        else:
            check_action(carry, progress, replay.seeds)
    if not update or env_step < setup.loop.start_steps:
        _choose_action(setup, carry, progress)
    return carry


def _step_environments(setup: Setup, progress: Progress) -> tuple[np.ndarray, ...]:
    """Steps every member, and starts its next episode where one ended.

    Returns:
      The transition, as `Replay.add` takes it.
    """
    seeds, environments = setup.replay.seeds, setup.environments
    observation, following = progress.observation, np.empty_like(progress.observation)
    reward = np.zeros(len(seeds))
    terminated, truncated = np.zeros(len(seeds), bool), np.zeros(len(seeds), bool)
    for member in np.flatnonzero(progress.trains).tolist():
        environment = environments[member]
        following[member], reward[member], terminated[member], truncated[member], _ = (
            environment.step(progress.action[member])
        )
    transition = (observation, progress.action, reward, terminated, truncated, following)
    if setup.freeze_nonfinite:
        freeze_transitions(transition, progress)
    else:
        check_transition(transition, progress, seeds)
    progress.length += progress.trains
    progress.episode_return += reward
    progress.observation = following.copy()
    for member in np.flatnonzero(terminated | truncated).tolist():
        progress.last_return[member] = progress.episode_return[member]
        progress.episode[member] += 1
        progress.length[member] = 0
        progress.episode_return[member] = 0
        progress.observation[member] = _reset(environments[member], seeds[member], progress, member)
    return transition


def _choose_action(setup: Setup, carry: Carry, progress: Progress) -> None:
    """The actions of the next step where no update gives them.

    They are random, or an initial policy's, and then by the policy.

    Args:
      carry: with a compact state.
    """
    env_step = progress.env_step + 1
    if env_step > setup.loop.start_steps:
        state = setup.program.expand(carry).state
        action = setup.program.explore(state, progress.observation, np.int32(env_step))
        progress.action = np.array(action)
        return
    if setup.initial_action:
        progress.action = np.array(setup.initial_action(np.int32(env_step), progress.observation))
        return
    for member, seed in enumerate(setup.replay.seeds):
        space: Any = setup.environments[member].action_space
        draw = generator(seed, Stream.RANDOM_ACTION, env_step)
        progress.action[member] = draw.uniform(space.low, space.high)


def _reset(environment: gymnasium.Env, seed: int, progress: Progress, member: int) -> np.ndarray:
    return environment.reset(seed=episode_seed(seed, int(progress.episode[member])))[0]


def to_saved(program: Program, carry: Carry, progress: Progress, history: History) -> Saved:
    """Everything that a run goes on from, beside its replay.

    The policies are a part of their own, for whoever wants to use them alone: what else a state
    has is the algorithm's business, and may be otherwise in another version.
    """
    record = {name: getattr(progress, name).tolist() for name in Progress.COUNTERS}
    state = {
        "carry": carry,
        "action": progress.action,
        "observation": progress.observation,
        "first_masks": history.first_masks,
        "masks": history.masks,
    }
    policies = {"last": program.policy(carry.state), "best": history.best}
    counters: dict[str, Any] = {"env_step": progress.env_step, "logged": progress.logged}
    if not progress.trains.all():
        counters["frozen"] = progress.frozen.tolist()
    return Saved({"state": state, "policies": policies}, counters | record)
