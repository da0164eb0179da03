"""Members with numbers that are not finite freeze; the others train as if nothing had happened."""

import dataclasses
import functools
import itertools
import json
import shutil

import chex
import jax
import numpy as np
import pytest

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.members import resolve_members
from dsrl_jax.config.to_json import describe
from dsrl_jax.training.checkpoints.checkpoint import read_last
from dsrl_jax.training.policy import FrozenMemberError, load_policy
from experiments import evaluate
from tests.training.runs import SPACES, TOYS, Programs, comparable

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


PROGRAMS = Programs()


def of(rows, *members):
    return comparable(row for row in rows if row.get("member") in members)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs, once for each back-end, of three members of which the last one freezes."""

    @functools.cache
    def run(backend):
        chosen, directory = (
            experiment(backend, learning_rate=STEP_SIZES),
            tmp_path_factory.mktemp(backend),
        )
        return chosen, list(PROGRAMS.run(chosen, directory)), directory

    return run


@both_back_ends
def test_the_others_continue_and_the_frozen_one_is_marked(backend, whole):
    _, rows, _ = whole(backend)
    healthy = list(PROGRAMS.run(experiment(backend, learning_rate=[*STEP_SIZES[:2], 5e-3])))
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
    """They drop one connection more than the share in which members differ."""
    given = SETTINGS | {"learning_rate": STEP_SIZES, "adaptation_period": 4, "last_adaptation": 40}
    asked = {"backend": backend, "seeds": 0, "preset": "official", "settings": given}
    chosen = resolve_members(BACK_ENDS[backend], "ds_td3", **asked)
    rows = list(PROGRAMS.run(dataclasses.replace(chosen, freeze_nonfinite=True)))
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
def test_a_stopped_run_with_a_frozen_member_continues_as_if_it_had_not(backend, whole, tmp_path):
    chosen, rows, _ = whole(backend)
    asked = itertools.count(1)
    at = {"gymnasium": 47, "brax": 2}[backend]  # of every step; of steps 25 and 50
    first = list(PROGRAMS.run(chosen, tmp_path, stop=lambda: next(asked) == at))
    assert first[-1]["kind"] == "stopped"
    rest = list(PROGRAMS.run(chosen, tmp_path))
    assert comparable(first) + comparable(rest) == comparable(rows)


@pytest.mark.parametrize("fault", ["NanObservation", "InfiniteReward", "HugeReward"])
def test_a_member_is_frozen_when_its_environment_breaks(fault, tmp_path):
    """The one of seed 4 does; it adds steps that lead nowhere to the replay."""
    rows = list(PROGRAMS.run(experiment(env=f"{TOYS}{fault}-v0", seeds=(6, 4)), tmp_path))
    plain = list(PROGRAMS.run(experiment(env=f"{TOYS}{fault}-v0", seeds=(6, 8))))
    assert of(rows, 0) == of(plain, 0)
    assert all(row["frozen_at"] is None for row in plain if "member" in row)
    frozen = {row["frozen_at"] for row in rows if row.get("member") == 1 and row["env_step"] == 75}
    # A huge reward is finite and its square is not: the first update with it shows that.
    assert frozen.pop() in ([16] if fault != "HugeReward" else range(31, 50))
    replay = np.fromfile(tmp_path / "replay/transitions.f32", np.float32)
    assert np.isfinite(replay).all()


def test_a_frozen_member_is_cleared_and_stays_so(whole, tmp_path):
    """Its last policy is 0, its best one the first; the others train on."""
    chosen, _, directory = whole("gymnasium")
    program, _ = PROGRAMS.take(chosen)
    first = program.policy(program.init().state)
    like = {"policies": {"last": first, "best": first}}
    shutil.copytree(directory / "checkpoints", tmp_path / "before")
    shutil.rmtree(tmp_path / "before" / "75")
    before = read_last(tmp_path / "before", like).parts["policies"]
    after = read_last(directory / "checkpoints", like).parts["policies"]
    chex.assert_tree_all_finite(after)
    for kernels in (before["last"], after["last"]):
        chex.assert_trees_all_equal(of_member(2, kernels), zeros_like(of_member(2, first)))
    for own, then in zip(*map(jax.tree.leaves, (after["last"], before["last"])), strict=True):
        assert (own[0] != then[0]).any()
    chex.assert_trees_all_equal(of_member(2, after["best"]), of_member(2, first))


def of_member(member, tree):
    return jax.tree.map(lambda leaf: leaf[member], tree)


def zeros_like(tree):
    return jax.tree.map(np.zeros_like, tree)


def test_the_last_policy_of_a_frozen_member_is_not_loaded(whole, tmp_path, capsys):
    chosen, _, directory = whole("gymnasium")
    shutil.copytree(directory / "checkpoints", tmp_path / "checkpoints")
    config = describe(chosen) | SPACES._asdict() | {"format": FORMAT}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FrozenMemberError, match="member 2, seed 0, is frozen since step [0-9]+ "):
        load_policy(tmp_path, member=2)
    assert load_policy(tmp_path, member=2, best=True).member == 2
    with pytest.raises(ValueError, match="name a member, from 0 to 2"):
        load_policy(tmp_path)
    assert evaluate.main([str(tmp_path), "--episodes=1"]) == 0
    output = capsys.readouterr()
    assert output.err.startswith("note: member 2, seed 0, is frozen")
    assert output.err.count("\n") == 1
    assert [line.split()[0] for line in output.out.splitlines()[2:]] == ["0", "1"]
