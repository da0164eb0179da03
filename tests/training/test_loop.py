"""The loop with a back-end made by hand: order of rows, means, best policies, saves, freezing."""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np
import pytest

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import resolve
from dsrl_jax.training.backend import Backend
from dsrl_jax.training.loop import Due, find_due, never, train
from dsrl_jax.training.nonfinite import NotFiniteError
from dsrl_jax.training.update import Carry
from tests.training.numpy_program import numpy_program
from tests.training.runs import TOYS, comparable

SEEDS = (0, 3)
SPACES = Spaces(2, (-1.0,), (1.0,))
PERIODS = {"log_period": 20, "eval_period": 10, "checkpoint_period": 20, "steps": 50}


class State(NamedTuple):
    carry: Carry


class Disk:
    """What was saved, and whether the back-end was closed."""

    def __init__(self):
        self.saved, self.is_closed = {}, False


def make_experiment(freeze_nonfinite=False, **settings):
    settings = {"start_steps": 0} | PERIODS | settings
    experiment = resolve(TOYS + "PointMass-v0", "td3", seeds=SEEDS, settings=settings)
    return dataclasses.replace(experiment, freeze_nonfinite=freeze_nonfinite)


def make_backend(experiment, disk=None, *, stride=1, saves=True, returns=None, freezes_at=None):
    """Trains a number for each member that counts steps; the loss of a step is its number.

    Args:
      stride: steps of an `advance`.
      returns: (env_step) -> [members]; 0 by default.
      freezes_at: the step at which `advance` freezes the last member.
    """
    program, disk = numpy_program(SPACES, SEEDS), disk or Disk()

    def advance(state, progress, env_step):
        steps = np.arange(progress.env_step + 1, env_step + 1, dtype=np.float32)
        carry = state.carry
        sums = {"loss": np.asarray(carry.sums["loss"]) + steps.sum()}
        frozen = progress.frozen
        if freezes_at in steps:
            frozen = np.where([False, True], freezes_at, frozen)
        return State(Carry(carry.state + len(steps), sums, carry.bad_update)), frozen

    def evaluate(state, progress):
        means = returns(progress.env_step) if returns else np.zeros(len(SEEDS))
        return np.stack([means, means], axis=1), np.ones((len(SEEDS), 2), int)

    def restore(state, like):
        if not disk.saved:
            return state, last(disk)
        saved = last(disk)
        return State(saved.parts["state"]["carry"]), saved._replace(notes=("as before",))

    def close():
        disk.is_closed = True

    return Backend(
        program=program,
        init=lambda: State(program.init()),
        begin=lambda state: state,
        next_step=lambda env_step: env_step + stride,
        advance=advance,
        evaluate=evaluate,
        sample=lambda state, env_step: np.ones((len(SEEDS), 4, 7), np.float32),
        episodes=lambda state: (np.array([1, 2]), np.array([0.5, np.nan])),
        pack=lambda state: ({"carry": state.carry}, {}),
        save=(lambda step, state, saved: disk.saved.update({step: saved})) if saves else None,
        restore=restore if disk.saved else None,
        close=close,
    )


def last(disk):
    return disk.saved[max(disk.saved)]


def run(stop=never, freeze_nonfinite=False, disk=None, settings=None, **how):
    experiment = make_experiment(freeze_nonfinite, **settings or {})
    return list(train(experiment, make_backend(experiment, disk, **how), stop))


@pytest.mark.parametrize("stride", [1, 5, 10])
def test_rows_come_in_order_for_each_member(stride):
    found = [(row["kind"], row["env_step"], row.get("seed")) for row in run(stride=stride)]

    def of_members(kind, step, times=1):
        return [(kind, step, seed) for seed in SEEDS for _ in range(times)]

    expected = [("start", 0, None)]
    for step in range(0, 60, 10):
        is_saved = step in (20, 40, 50)
        expected += of_members("training", step) if is_saved else []
        expected += of_members("evaluation", step) + of_members("topology", step, times=2)
        expected += [("checkpoint", step, None)] if is_saved else []
        expected += [("timing", step, None)] if step else []
    assert found == expected


def test_rows_of_a_kind_have_the_same_keys():
    keys = {}
    for row in run():
        keys.setdefault(row["kind"], set()).add(tuple(row))
    position = ("kind", "seed", "env_step", "updates")
    assert keys["evaluation"] == {(*position, "return_mean", "return_std", "returns", "lengths")}
    assert keys["training"] == {
        (
            *position,
            "episodes",
            "episode_return",
            "loss",
            "actor_connections",
            "critics_connections",
        )
    }
    assert keys["timing"] == {
        ("kind", "env_step", "seconds", "evaluation_seconds", "checkpoint_seconds")
    }
    assert len(keys["topology"]) == 1
    frozen = run(freeze_nonfinite=True)[1]
    assert tuple(frozen)[:6] == ("kind", "member", "seed", "env_step", "updates", "frozen_at")


def test_without_a_directory_there_is_no_checkpoint():
    assert "checkpoint" not in {row["kind"] for row in run(saves=False)}


def test_a_training_row_is_the_mean_over_the_updates_since_the_last():
    losses = [row["loss"] for row in run() if row["kind"] == "training" and row["seed"] == 0]
    assert losses == [np.mean(range(1, 21)), np.mean(range(21, 41)), np.mean(range(41, 51))]


def test_the_best_policy_of_each_member_is_kept():
    """The policy of the hand-made program is its state: the seed and the steps done."""
    means = {0: [1, 2], 10: [3, 1], 20: [3, 5], 30: [0, 4], 40: [4, 5], 50: [0, 0]}
    disk = Disk()
    run(disk=disk, returns=lambda step: np.array(means[step], float))
    best = {step: saved.record["best_step"] for step, saved in disk.saved.items()}
    assert best == {20: [10, 20], 40: [40, 20], 50: [40, 20]}  # the first of equal ones
    assert last(disk).record["best_return"] == [4, 5]
    np.testing.assert_array_equal(last(disk).parts["policies"]["best"], [0 + 40, 3 + 20])
    np.testing.assert_array_equal(last(disk).parts["policies"]["last"], [0 + 50, 3 + 50])


@pytest.mark.parametrize("at", [1, 20, 37, 49])
def test_a_run_that_stops_saves_and_continues_as_if_it_had_not(at):
    whole, disk, count = run(), Disk(), itertools.count(1)
    first = run(disk=disk, stop=lambda: next(count) == at)
    assert first[-1] == {"kind": "stopped", "env_step": at}
    assert list(disk.saved)[-1] == at
    rest = run(disk=disk)
    assert rest[:2] == [
        {"kind": "start", "env_step": at},
        {"kind": "note", "env_step": at, "text": "as before"},
    ]
    assert comparable(first) + comparable(rest) == comparable(whole)
    assert run(disk=disk)[2:] == []  # A finished run has nothing to do.


def test_the_back_end_is_closed_however_the_run_ends():
    disks = [Disk(), Disk(), Disk()]
    run(disk=disks[0])
    experiment = make_experiment()
    rows = train(experiment, make_backend(experiment, disks[1]))
    next(rows)
    rows.close()
    with pytest.raises(NotFiniteError):
        run(disk=disks[2], returns=lambda step: np.full(2, np.nan))
    assert [disk.is_closed for disk in disks] == [True] * 3


def test_a_member_that_freezes_is_noted_at_its_step():
    rows = run(freeze_nonfinite=True, freezes_at=7)
    (note,) = [row for row in rows if row["kind"] == "note"]
    text = "member 1, seed 3, is frozen since step 7: its numbers are not finite"
    assert note == {"kind": "note", "env_step": 7, "text": text}
    for row in rows:
        if "frozen_at" in row:
            is_frozen = row["member"] == 1 and row["env_step"] >= 7
            assert row["frozen_at"] == (7 if is_frozen else None)
            if row["kind"] == "evaluation":
                assert np.isnan(row["return_mean"]) == is_frozen


def returns_nan_at_20(step):
    return np.array([0.0, np.nan if step == 20 else 0.0])


def test_a_return_that_is_not_finite_freezes_the_member():
    disk = Disk()
    rows = run(disk=disk, freeze_nonfinite=True, returns=returns_nan_at_20)
    kinds = [row["kind"] for row in rows if row["env_step"] == 20]
    assert kinds == [*["training"] * 2, *["evaluation"] * 2, "note", *["topology"] * 4] + [
        "checkpoint",
        "timing",
    ]
    assert last(disk).record["frozen"] == [-1, 20]
    assert list(last(disk).parts["state"]["carry"].bad_update) == [0, -1]


def test_or_it_ends_the_run():
    message = "^seed 3, evaluation at step 20: a return is not finite$"
    with pytest.raises(NotFiniteError, match=message):
        run(returns=returns_nan_at_20)


# --- What is due ---------------------------------------------------------------------------------

LOOP = LoopConfig(steps=10, log_period=2, eval_period=3, checkpoint_period=4)


@pytest.mark.parametrize(
    "env_step, due",
    [
        (1, Due(logged=False, evaluated=False, saved=False, stops=False)),
        (2, Due(logged=True, evaluated=False, saved=False, stops=False)),
        (3, Due(logged=False, evaluated=True, saved=False, stops=False)),
        (4, Due(logged=True, evaluated=False, saved=True, stops=False)),
        (6, Due(logged=True, evaluated=True, saved=False, stops=False)),
        (10, Due(logged=True, evaluated=True, saved=True, stops=False)),
    ],
)
def test_each_period_has_its_steps_and_the_last_step_all_of_them(env_step, due):
    assert find_due(LOOP, env_step, never) == due


def test_a_run_that_stops_saves_and_logs_nothing_for_it():
    assert find_due(LOOP, 1, lambda: True) == Due(False, False, saved=True, stops=True)


def test_stop_is_called_once_a_step_but_not_after_the_last():
    calls = itertools.count()
    for env_step in range(1, LOOP.steps + 1):
        find_due(LOOP, env_step, lambda: next(calls) < 0)
    assert next(calls) == LOOP.steps - 1
