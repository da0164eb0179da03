"""Runs of format 1 stay readable: policies, episodes, checkpoints."""

import json
import pickle
import re
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.training.checkpoints.checksums import RECORD, read_record, write_record
from experiments import evaluate, run
from tests.faults.injected import contents
from tests.old_run import OLD, SEEDS, STOPPED, edit, evaluations, unpack


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "format_1"))


@pytest.fixture(scope="module")
def policies():
    with jax.numpy_rank_promotion("allow"):
        return {
            (seed, best): dsrl_jax.load_policy(OLD, seed=seed, best=best)
            for seed in SEEDS
            for best in (False, True)
        }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("best", [False, True], ids=["last", "best"])
def test_a_loaded_policy_has_the_returns_of_the_run(policies, seed, best):
    rows = [row for row in evaluations() if row["seed"] == seed]
    row = max(rows, key=lambda row: row["return_mean"]) if best else rows[-1]
    policy = policies[seed, best]
    assert (policy.seed, policy.env_step) == (seed, row["env_step"])
    returns = evaluate.play(policy, 2)
    np.testing.assert_allclose(returns, [row["return_0"], row["return_1"]], rtol=1e-4)


def test_episodes_are_the_same_however_many_are_played_at_a_time(policies, monkeypatch):
    policy, returns = policies[0, False], []
    for together in (7, 3, 1):
        monkeypatch.setattr(evaluate, "TOGETHER", together)
        returns.append(evaluate.play(policy, 7))
    np.testing.assert_allclose(returns[1:], returns[:1] * 2, rtol=1e-5)
    assert len(set(returns[0].tolist())) == 7


def test_last_and_best_are_not_the_same_here():
    """So that the test above distinguishes them."""
    for seed in SEEDS:
        means = [row["return_mean"] for row in evaluations() if row["seed"] == seed]
        assert max(means) > means[-1]


def test_a_policy_takes_one_observation_or_many_of_numpy_or_jax(policies, rng):
    policy = policies[0, False]
    assert policy.spaces.observation_size == 2 and policy.spaces.action_low == (-1.0,)
    many = rng.normal(size=(3, 4, 2))
    actions = policy(many)
    assert isinstance(actions, np.ndarray) and actions.shape == (3, 4, 1)
    assert actions.dtype == np.float32 and (np.abs(actions) <= 1).all()
    assert np.unique(actions).size > 6
    np.testing.assert_allclose(policy(many[1, 2]), actions[1, 2], rtol=1e-5)
    in_jax = jax.jit(jax.vmap(policy))(jnp.asarray(many))
    assert isinstance(in_jax, jax.Array)
    np.testing.assert_allclose(in_jax, actions, rtol=1e-5)
    with pytest.raises(ValueError, match=r"must be \[\.\.\., 2\], got shape \(3,\)"):
        policy(np.zeros(3))


def test_loading_writes_nothing(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    dsrl_jax.load_policy(copy, seed=0)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_loading_executes_nothing_that_a_directory_brings(copy, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(copy, env="stranger:Id-v0")
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.delattr(pickle, name)
    dsrl_jax.load_policy(copy, seed=0)
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: edit(run, format=2), "has format 2, this version reads format 1"),
        (lambda run: edit(run, algo="ds_td4"), "damaged .*did you mean ds_td3"),
        (lambda run: edit(run, tau=-1), r"damaged .*tau must be in \[0, 1\], got -1"),
        (lambda run: edit(run, action_low="x"), "damaged"),
        (lambda run: edit(run, seeds=["0", 1]), "damaged .*seeds"),
        (lambda run: edit(run, seeds=[]), "damaged .*seeds"),
        (lambda run: edit(run, hidden_sizes=[7]), "60/policies is of other networks"),
        (lambda run: (run / "config.json").write_text("{"), "config.json is damaged"),
        (lambda run: (run / "config.json").unlink(), "no run directory"),
        (
            lambda run: shutil.rmtree(run / "checkpoints"),
            "no checkpoint can be used: there is none .* after checkpoint_period steps",
        ),
        (lambda run: shutil.rmtree(run / "checkpoints/60/policies"), "no checkpoint can be used"),
    ],
)
def test_what_cannot_be_loaded_raises(copy, change, message):
    change(copy)
    with pytest.raises(ValueError, match=message):
        dsrl_jax.load_policy(copy, seed=0)


def test_a_run_whose_state_has_other_arrays_is_not_continued(copy, capsys):
    """Its targets have no first guesses of their searches."""
    before = contents(copy)
    arguments = json.loads(before["config.json"])["command"].split()[:-1]
    assert run.main([*arguments, "--steps=80", f"--run_dir={copy}"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch("error: .*/60/state is of other networks, .*; choose another .*", said)
    after = contents(copy)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"config.json", "starts.jsonl"}  # --steps and the start itself


def test_a_run_that_an_earlier_version_stopped_is_continued(tmp_path):
    """To its end, and with the numbers of that version."""
    directory = Path(shutil.copytree(unpack(STOPPED), tmp_path / "run"))
    arguments = json.loads((directory / "config.json").read_text())["command"].split()[:-2]
    assert run.main([*arguments, "--steps=60", f"--run_dir={directory}"]) == 0
    found, expected = (evaluations(directory, name) for name in ("evaluations.csv", "expected.csv"))
    assert [row["env_step"] for row in found] == [0, 0, 20, 20, 40, 40, 60, 60]
    for row, expected_row in zip(found, expected, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-3)


@pytest.mark.parametrize("seed", [None, 2])
def test_a_seed_has_to_be_one_of_the_run(seed):
    with pytest.raises(ValueError, match=f"seed must be one of 0, 1, got {seed}"):
        dsrl_jax.load_policy(OLD, seed=seed)


def test_without_an_evaluation_there_is_no_best_policy(copy):
    path = copy / "checkpoints" / "60" / RECORD
    record = read_record(path)
    record["loop"]["best_return"] = [1.0, -np.inf]
    write_record(path, record)
    dsrl_jax.load_policy(copy, seed=0, best=True)
    dsrl_jax.load_policy(copy, seed=1)
    with pytest.raises(ValueError, match="seed 1 has no best policy: .* has no evaluation yet"):
        dsrl_jax.load_policy(copy, seed=1, best=True)
