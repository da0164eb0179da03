"""Members whose numbers are not finite are frozen, and the others go on as if nothing were."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from dsrl_jax.agents import td3
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.members import resolve_members
from dsrl_jax.config.to_json import describe
from dsrl_jax.training import train as training
from dsrl_jax.training.checkpoints.checkpoint import read_last
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.policy import FrozenMemberError, load_policy
from dsrl_jax.training.program import compile_program
from experiments import evaluate
from tests.training.runs import TOYS, told

SPACES = Spaces(2, (-1.0,), (1.0,))
SETTINGS = {
    "hidden_sizes": (8,),
    "batch_size": 8,
    "lambda1": 1.0,
    "drop_fraction": 0.2,
    "adaptation_period": 10,
    "start_steps": 30,
    "steps": 75,
    "eval_period": 25,
    "log_period": 25,
    "checkpoint_period": 25,
    "eval_episodes": 2,
}
# With the last one no weight is finite after a few updates.
STEP_SIZES = [1e-3, 3e-3, 1e30]
BACK_ENDS = {"gymnasium": TOYS + "PointMass-v0", "brax": "tests.toy_brax:PointMass"}
both_back_ends = pytest.mark.parametrize("backend", BACK_ENDS)


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def experiment(backend="gymnasium", env=None, seeds=0, **settings):
    env, given = env or BACK_ENDS[backend], SETTINGS | settings
    found = resolve_members(env, "ds_td3", backend=backend, seeds=seeds, settings=given)
    return dataclasses.replace(found, freeze_nonfinite=True)


def of(rows, *members):
    return told(row for row in rows if row.get("member") in members)


@both_back_ends
def test_the_others_go_on_and_the_frozen_one_is_marked(backend, tmp_path):
    chosen = experiment(backend, learning_rate=STEP_SIZES)
    rows = list(training.run(chosen, tmp_path))
    healthy = list(training.run(experiment(backend, learning_rate=[*STEP_SIZES[:2], 5e-3])))
    assert of(rows, 0, 1) == of(healthy, 0, 1)
    (note,) = [row["text"] for row in rows if row["kind"] == "note"]
    last = [row for row in rows if row.get("member") == 2 and row["env_step"] == 75]
    (frozen_at,) = {row["frozen_at"] for row in last}
    assert 30 < frozen_at < 75 and f"member 2, seed 0, is frozen since step {frozen_at}" in note
    assert all(row["frozen_at"] is None for row in rows if row.get("member") in (0, 1))
    for row in last:
        if row["kind"] == "evaluation":
            assert np.isnan([row["return_mean"], *row["returns"]]).all()
        if row["kind"] == "training":
            numbers = ("critic_loss", "actor_loss", "q_mean", "episode_return")
            assert np.isnan([row[name] for name in numbers]).all()
            assert row["actor_connections"] > 0


@both_back_ends
def test_a_frozen_member_keeps_its_topology_by_the_official_rules(backend):
    """They drop one connection more than the share that members differ in."""
    given = SETTINGS | {"learning_rate": STEP_SIZES, "adaptation_period": 4, "last_adaptation": 40}
    asked = {"backend": backend, "seeds": 0, "preset": "official", "settings": given}
    chosen = resolve_members(BACK_ENDS[backend], "ds_td3", **asked)
    rows = list(training.run(dataclasses.replace(chosen, freeze_nonfinite=True)))
    last = [row for row in rows if row["kind"] == "topology" and row["env_step"] == 75]
    before = [row for row in rows if row["kind"] == "topology" and row["env_step"] == 50]
    # Frozen at its first updates, before step 50; the last adaptation, at update 42, only drops.
    for member in range(3):
        now, then = ([row for row in of if row["member"] == member] for of in (last, before))
        churn, kept = ([row[name] for row in now] for name in ("churn", "connections"))
        if member == 2:
            assert set(churn) == {0} and kept == [row["connections"] for row in then]
        else:
            assert max(churn) > 0 and sum(kept) < sum(row["connections"] for row in then)


@both_back_ends
def test_a_stopped_run_with_a_frozen_member_ends_as_one_that_was_not(backend, tmp_path):
    chosen = experiment(backend, learning_rate=STEP_SIZES, checkpoint_period=20)
    whole = list(training.run(chosen, tmp_path / "whole"))
    asked = itertools.count(1)
    at = {"gymnasium": 47, "brax": 3}[backend]  # of every step; of step 20, 25, 40, …
    first = list(training.run(chosen, tmp_path / "cut", stop=lambda: next(asked) == at))
    assert first[-1]["kind"] == "stopped"
    rest = list(training.run(chosen, tmp_path / "cut"))
    assert told(first) + told(rest) == told(whole)


@pytest.mark.parametrize("fault", ["NanObservation", "InfiniteReward", "HugeReward"])
def test_a_member_is_frozen_when_its_environment_breaks(fault, tmp_path):
    """That of seed 4 does; what it adds to the replay are steps that lead nowhere."""
    rows = list(training.run(experiment(env=f"{TOYS}{fault}-v0", seeds=(6, 4)), tmp_path))
    plain = list(training.run(experiment(env=f"{TOYS}{fault}-v0", seeds=(6, 8))))
    assert of(rows, 0) == of(plain, 0)
    assert all(row["frozen_at"] is None for row in plain if "member" in row)
    frozen = {row["frozen_at"] for row in rows if row.get("member") == 1 and row["env_step"] == 75}
    # A reward is finite, and its square is not: the first update with it tells.
    assert frozen.pop() in ([16] if fault != "HugeReward" else range(31, 50))
    replay = np.fromfile(tmp_path / "replay/transitions.f32", np.float32)
    assert np.isfinite(replay).all()


def test_a_frozen_member_is_cleared_and_stays_so(tmp_path):
    """Its last policy is 0, its best one what it was; the others train on."""
    chosen = experiment(learning_rate=STEP_SIZES, steps=50)
    list(training.run(chosen, tmp_path))
    longer = dataclasses.replace(chosen, loop=dataclasses.replace(chosen.loop, steps=75))
    like = jax.tree.map(np.asarray, first_policies(chosen))
    held = read_last(tmp_path / "checkpoints", {"policies": like}).parts["policies"]["last"]
    list(training.run(longer, tmp_path))
    after = read_last(tmp_path / "checkpoints", {"policies": like}).parts["policies"]["last"]
    for before, now in zip(jax.tree.leaves(held), jax.tree.leaves(after), strict=True):
        assert not before[2].any() and not now[2].any()
        assert np.isfinite(now).all() and (before[0] != now[0]).any()
    best = read_last(tmp_path / "checkpoints", {"policies": like}).parts["policies"]["best"]
    first = like["best"]["hidden_0"]["kernel"][2]  # at step 0, before the first update
    np.testing.assert_array_equal(best["hidden_0"]["kernel"][2], first)


def test_the_last_policy_of_a_frozen_member_is_refused(tmp_path, capsys):
    chosen = experiment(learning_rate=STEP_SIZES, steps=75)
    list(training.run(chosen, tmp_path))
    (tmp_path / "config.json").write_text(
        json.dumps(describe(chosen) | SPACES._asdict() | {"format": FORMAT})
    )
    with pytest.raises(FrozenMemberError, match="member 2, seed 0, is frozen since step [0-9]+ "):
        load_policy(tmp_path, member=2)
    assert load_policy(tmp_path, member=2, best=True).member == 2
    with pytest.raises(ValueError, match="name a member, from 0 to 2"):
        load_policy(tmp_path)
    assert evaluate.main([str(tmp_path), "--episodes=1"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("note: member 2, seed 0, is frozen") and said.err.count("\n") == 1
    assert [line.split()[0] for line in said.out.splitlines()[2:]] == ["0", "1"]


def first_policies(chosen):
    config = config_of_members(chosen)
    program = compile_program(td3.make_agent(SPACES), config, SPACES, chosen.seeds)
    policy = program.policy(program.init().state)
    return {"last": policy, "best": policy}
