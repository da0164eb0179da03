"""Whole runs with the real agent, tiny networks and compiled programs, each compiled once."""

import logging

import jax
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.config.presets import resolve
from dsrl_jax.training import program
from dsrl_jax.training import train as training
from dsrl_jax.training.finite import NotFiniteError, check_losses
from dsrl_jax.training.host.random import episode_seed
from dsrl_jax.training.program import compile_program
from dsrl_jax.training.update import Carry
from tests.training.runs import TOYS, read_replay, replay_bytes, told

POINT_MASS = TOYS + "PointMass-v0"
SEEDS = (5, 4, 6)
ALONE = 4  # the member that is compared to a run of its own, and in faulty environments breaks
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
def compiled_once():
    """Runs of equal agents and members share one program, as if of one process."""
    programs = {}

    def compile_or_take(agent, config, spaces, seeds, *, placement, freeze_nonfinite):
        key = (config, spaces, seeds, freeze_nonfinite)
        if key not in programs:
            programs[key] = compile_program(
                agent, config, spaces, seeds, freeze_nonfinite=freeze_nonfinite
            )
        return programs[key]

    # The agents broadcast between ranks, on purpose.
    with jax.numpy_rank_promotion("allow"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "compile_program", compile_or_take)
        yield


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
    return training.run(experiment, directory)


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


def test_a_member_alone_plays_what_it_plays_among_others(alone, together):
    member = SEEDS.index(ALONE)
    ours = read_replay(alone[1], 1, STEPS)[:-1]
    theirs = read_replay(together[1], len(SEEDS), STEPS)[:-1]
    few = START_STEPS + 6  # five updates
    for mine, all_members in zip(ours, theirs, strict=True):
        its = all_members[:, member]
        np.testing.assert_array_equal(mine[:START_STEPS, 0], its[:START_STEPS])
        np.testing.assert_allclose(mine[:few, 0], its[:few], rtol=1e-4, atol=1e-5)


def test_a_member_alone_learns_what_it_learns_among_others(alone, together):
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


@pytest.fixture(scope="module")
def continued(alone, tmp_path_factory):
    """Rows and directory of a run that went on after its checkpoint at step 50, and JAX's log."""
    directory = tmp_path_factory.mktemp("continued")
    stopped = start(directory)
    for row in stopped:
        if (row["kind"], row["env_step"]) == ("timing", 50):
            break
    stopped.close()
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("jax").addHandler(handler)
    with jax.log_compiles():
        rows = run(directory)
    logging.getLogger("jax").removeHandler(handler)
    return rows, directory, messages


def test_a_stopped_run_goes_on_as_if_nothing_had_been(alone, continued):
    assert continued[0][0] == {"kind": "start", "env_step": 50}
    assert told(continued[0]) == told(alone[0], after=50)
    assert replay_bytes(continued[1]) == replay_bytes(alone[1])


def test_a_run_that_goes_on_has_the_program_of_one_that_starts(continued):
    """Arrays that a checkpoint gave must not make other programs of those that are compiled."""
    name = f"jit({program._step.__name__})"
    assert not [message for message in continued[2] if f"Compiling {name}" in message]


def test_a_member_is_named_by_its_place_where_others_have_its_seed():
    carry = Carry(None, {}, np.int32([0, 5, 9]))
    with pytest.raises(NotFiniteError, match="^member 1, seed 4, update 5: a loss is not finite$"):
        check_losses(carry, (4, 4, 7))
    with pytest.raises(NotFiniteError, match="^seed 4, update 5: "):
        check_losses(carry, (7, 4, 8))


@pytest.mark.parametrize("seeds", [(ALONE,), SEEDS])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_seed_and_update(seeds):
    assert [seed for seed in seeds if episode_seed(seed, 0) % 2] == [ALONE]
    message = f"^seed {ALONE}, update 1: a loss is not finite$"
    with pytest.raises(NotFiniteError, match=message):
        for row in start(env=TOYS + "HugeReward-v0", seeds=seeds):
            assert row["env_step"] < 50  # found when the losses are read, if not before


# --- dsrl_jax.train ----------------------------------------------------------------------------


def test_train_yields_the_rows_of_a_run_and_writes_nothing(alone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = list(dsrl_jax.train(POINT_MASS, "ds_td3", seeds=[ALONE], **SETTINGS))
    assert told(rows) == told(alone[0])
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
def test_train_refuses_at_once_what_it_cannot_run(arguments, message):
    with pytest.raises(ValueError, match=message):
        dsrl_jax.train(**{"env": POINT_MASS, "algo": "ds_td3"} | arguments)
