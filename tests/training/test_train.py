"""Whole runs with the real agent, tiny networks and compiled programs, each compiled once."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.config.presets import resolve
from dsrl_jax.training.host.random import episode_seed
from dsrl_jax.training.nonfinite import NotFiniteError, exclude_losses
from tests.training.runs import (
    TOYS,
    Programs,
    comparable,
    compiled_functions,
    read_replay,
    replay_bytes,
)

POINT_MASS = TOYS + "PointMass-v0"
SEEDS = (5, 4, 6)
ALONE = 4  # is also trained alone; its environment breaks if it is a faulty one
START_STEPS, STEPS = 30, 75
SETTINGS = {
    "hidden_sizes": (8,),
    "batch_size": 8,
    "lambda1": 1.0,
    "drop_fraction": 0.2,
    "adaptation_period": 10,
    "start_steps": START_STEPS,
    "steps": STEPS,
    "eval_period": 25,
    "checkpoint_period": 25,
    "log_period": 25,
    "eval_episodes": 2,
}
METRICS = ("actor_loss", "critic_loss", "q_mean")


@pytest.fixture(scope="module", autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def trace_update_once(agent):
    """Raises if a run has a second program of a step.

    It has updates with and without adaptations, evaluations and checkpoints.
    """
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)
    def update(*arguments):
        return agent.update(*arguments)

    return agent._replace(update=update)


# Chex counts the traces of all programs together: only that of one member has its assertion.
PROGRAMS, TRACED_ONCE = Programs(), Programs(trace_update_once)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Rows and directory of a run of one member."""
    directory = tmp_path_factory.mktemp("alone")
    return run(directory, seeds=(ALONE,)), directory


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Rows and directory of a run of three members, the one above among them."""
    directory = tmp_path_factory.mktemp("together")
    return run(directory, seeds=SEEDS), directory


def start(directory=None, *, env=POINT_MASS, seeds=(ALONE,), **settings):
    experiment = resolve(env, "ds_td3", seeds=seeds, settings=SETTINGS | settings)
    programs = TRACED_ONCE if seeds == (ALONE,) else PROGRAMS
    return programs.run(experiment, directory)


def run(directory=None, **arguments):
    return list(start(directory, **arguments))


def rows_of(rows, kind, seed):
    return [row for row in rows if row["kind"] == kind and row["seed"] == seed]


def test_metrics_come_with_the_first_update(alone, together):
    for rows in (alone[0], together[0]):
        for row in rows:
            if row["kind"] == "training":
                assert set(METRICS) < set(row)
                finite = np.isfinite([row[name] for name in METRICS])
                assert finite.all() if row["env_step"] > START_STEPS else not finite.any()


def test_connections_stay_while_the_topology_moves(together):
    rows, _ = together
    first = {row["seed"]: row for row in rows if row["kind"] == "training" and row["updates"] == 0}
    for row in rows:
        if row["kind"] == "training":
            for name in ("actor_connections", "critics_connections"):
                assert row[name] == first[row["seed"]][name]
    # Without biases: fewer than dense networks have, and the dense output layers at least.
    for row in first.values():
        assert 8 < row["actor_connections"] < 2 * 8 + 8
        assert 2 * 8 < row["critics_connections"] < 2 * (3 * 8 + 8)


def test_updates_change_the_policy(alone):
    returns = [row["returns"] for row in rows_of(alone[0], "evaluation", ALONE)]
    assert returns[0] == returns[1]  # at step 25 there has been no update
    assert len({str(each) for each in returns[1:]}) == 3


def test_a_member_plays_the_same_alone_and_among_others(alone, together):
    member = SEEDS.index(ALONE)
    ours = read_replay(alone[1], 1, STEPS)[:-1]
    theirs = read_replay(together[1], len(SEEDS), STEPS)[:-1]
    few = START_STEPS + 6  # five updates
    for mine, all_members in zip(ours, theirs, strict=True):
        its = all_members[:, member]
        np.testing.assert_array_equal(mine[:START_STEPS, 0], its[:START_STEPS])
        np.testing.assert_allclose(mine[:few, 0], its[:few], rtol=1e-4, atol=1e-5)


def test_a_member_learns_the_same_alone_and_among_others(alone, together):
    mine, its = (rows_of(rows, "training", ALONE)[1] for rows in (alone[0], together[0]))
    assert mine["env_step"] == 50
    for name in METRICS:
        np.testing.assert_allclose(mine[name], its[name], rtol=1e-2)
    assert mine["critics_connections"] == its["critics_connections"]
    mine, its = (rows_of(rows, "evaluation", ALONE)[0] for rows in (alone[0], together[0]))
    np.testing.assert_allclose(mine["returns"], its["returns"], rtol=1e-4)
    assert mine["lengths"] == its["lengths"]


def test_members_differ(together):
    rows, directory = together
    assert len({str(row["returns"]) for row in rows if row["kind"] == "evaluation"}) == 3 * 3
    _, actions, *_ = read_replay(directory, len(SEEDS), STEPS)
    for step in range(START_STEPS):
        assert len(np.unique(actions[step])) == len(SEEDS)


def test_a_stopped_run_continues_by_the_same_program_as_if_it_had_not(alone, tmp_path, caplog):
    """Arrays from a checkpoint must not compile other programs."""
    stopped = start(tmp_path)
    for row in stopped:
        if (row["kind"], row["env_step"]) == ("timing", 50):
            break
    stopped.close()
    with compiled_functions(caplog) as count:
        rows = run(tmp_path)
    assert count["_step"] == 0
    assert rows[0] == {"kind": "start", "env_step": 50}
    assert comparable(rows) == comparable(alone[0], after=50)
    assert replay_bytes(tmp_path) == replay_bytes(alone[1])


@pytest.mark.parametrize(("seeds", "who"), [((4, 4, 7), "member 1, seed 4"), ((7, 4, 8), "seed 4")])
def test_a_member_is_named_by_its_number_if_others_have_its_seed(seeds, who):
    experiment = resolve(POINT_MASS, "td3", seeds=tuple(sorted(set(seeds))))
    experiment = dataclasses.replace(experiment, seeds=seeds)
    with pytest.raises(NotFiniteError, match=f"^{who}, update 5: a loss is not finite$"):
        exclude_losses(experiment, np.full(3, -1), np.int32([0, 5, 9]), 40)


@pytest.mark.parametrize("seeds", [(ALONE,), SEEDS])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_seed_and_update(seeds):
    assert [seed for seed in seeds if episode_seed(seed, 0) % 2] == [ALONE]
    message = f"^seed {ALONE}, update 1: a loss is not finite$"
    with pytest.raises(NotFiniteError, match=message):
        for row in start(env=TOYS + "HugeReward-v0", seeds=seeds):
            assert row["env_step"] < START_STEPS


# --- dsrl_jax.train ----------------------------------------------------------------------------


def test_train_yields_the_rows_of_a_run_and_writes_nothing(alone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = list(dsrl_jax.train(POINT_MASS, "ds_td3", seeds=[ALONE], **SETTINGS))
    assert comparable(rows) == comparable(alone[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": "halfcheeta"}, "did you mean halfcheetah"),
        ({"env": TOYS + "DiscreteAction-v0"}, r"got Discrete\(3\)"),
        ({"algo": "ds-td3"}, "algo must be one of .* did you mean ds_td3"),
        ({"preset": "papr"}, "preset must be one of .* did you mean paper"),
        ({"seeds": ()}, "seeds must be"),
        ({"seeds": (1, 1)}, r"seeds must be .*\(1, 1\)"),
        ({"step": 10}, "setting of ds_td3 must be one of .* did you mean steps"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"drop_fraction": 1.5}, r"drop_fraction must be in \[0, 1\], got 1.5"),
    ],
)
def test_train_raises_at_once_for_what_it_cannot_run(arguments, message):
    with pytest.raises(ValueError, match=message):
        dsrl_jax.train(**{"env": POINT_MASS, "algo": "ds_td3"} | arguments)
