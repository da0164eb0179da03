"""Whole runs on the device, with the real agent in an environment made by hand."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.agents import td3
from dsrl_jax.config.presets import resolve
from dsrl_jax.training import train as training
from dsrl_jax.training.device.program import _make_device_keys
from dsrl_jax.training.device.replay import make_ring
from dsrl_jax.training.nonfinite import NotFiniteError
from dsrl_jax.training.program import unpack
from tests.training.runs import SPACES, Programs, comparable, compiled_functions

TOY = "tests.toy_brax:"
SETTINGS = {
    "hidden_sizes": (8,),
    "batch_size": 8,
    "lambda1": 1.0,
    "drop_fraction": 0.2,
    "adaptation_period": 10,
    "start_steps": 30,
    "steps": 90,
    "eval_period": 30,
    "checkpoint_period": 30,
    "log_period": 30,
    "eval_episodes": 2,
    "episode_length": 8,
    "num_envs": 3,
}


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def experiment(env="PointMass", seeds=(0, 1), **settings):
    given = SETTINGS | settings
    return resolve(TOY + env, "ds_td3", backend="brax", seeds=seeds, settings=given)


PROGRAMS = Programs()


def test_a_stopped_run_continues_as_if_it_had_not_and_compiles_each_function_once(tmp_path, caplog):
    """Also for a state from a checkpoint, and though a step's `done` is of a weaker type."""
    chosen, stops = experiment(log_period=15), itertools.count(1)
    with compiled_functions(caplog) as count:
        whole = list(PROGRAMS.run(chosen, tmp_path / "whole"))
        cut = list(PROGRAMS.run(chosen, tmp_path / "cut", lambda: next(stops) == 4))
        cut += PROGRAMS.run(chosen, tmp_path / "cut")
    assert (count["_advance"], count["_evaluate"], count["_start"]) == (1, 1, 1)
    assert {"kind": "stopped", "env_step": 60} in cut and {"kind": "start", "env_step": 60} in cut
    assert comparable(cut) == comparable(whole)
    ours, theirs = (tmp_path / name / "replay/transitions.f32" for name in ("cut", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_an_update_is_the_agents_with_the_batch_of_its_number():
    chosen = experiment(seeds=(4,), num_envs=1)
    program, device = PROGRAMS.take(chosen)
    state = device.start(program.init(), make_ring(1, chosen.loop.steps, SPACES))
    state = device.advance(state, np.int32(1), np.int32(30))
    keys, before = _make_device_keys((4,)), jax.tree.map(lambda x: x[0], state.carry.state)
    state = device.advance(state, np.int32(31), np.int32(31))
    packed = device.sample(state.rows, np.int32(31), np.int32(1))
    batch = jax.tree.map(lambda x: x[0], unpack(packed, SPACES))
    config, update = jax.tree.map(jnp.asarray, chosen.agent), td3.make_agent(SPACES).update
    expected, _ = jax.jit(update)(keys.update[0], config, before, batch, jnp.int32(1))
    found = jax.tree.map(lambda x: x[0], state.carry.state)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)


def test_it_learns():
    settings = {
        "hidden_sizes": (32, 32),
        "batch_size": 64,
        "lambda2": 8.0,
        "discount": 0.95,
        "tau": 0.02,
        "drop_fraction": 0.05,
        "adaptation_period": 50,
        "num_envs": 4,
        "start_steps": 500,
        "steps": 4000,
        "eval_period": 4000,
        "log_period": 4000,
        "episode_length": 50,
    }
    rows = list(training.run(experiment(**settings)))
    last = [row["return_mean"] for row in rows if row["kind"] == "evaluation"][-2:]
    assert min(last) > 40  # of 50; a random policy leaves the region after a few steps


def test_a_number_that_is_not_finite_ends_the_run():
    with pytest.raises(NotFiniteError, match="seed 0"):
        list(training.run(experiment("NanReward", start_steps=90)))


def test_settings_of_one_back_end_raise_with_another():
    with pytest.raises(ValueError, match="num_envs is a setting of backend brax"):
        resolve("Ant-v5", "ds_td3", settings={"num_envs": 4})
    with pytest.raises(ValueError, match="brax has no env_preset"):
        resolve("ant", "ds_td3", backend="brax", env_preset="v3")


def test_settings_in_steps_are_rounded_up_and_noted():
    chosen = experiment(num_envs=4)
    assert chosen.loop.steps == 92 and chosen.loop.start_steps == 32
    assert "multiples of num_envs 4" in chosen.changes[0]
    assert chosen.updates_at(92) == 60


def test_what_was_rounded_is_noted_after_the_start():
    given = SETTINGS | {"num_envs": 4}
    rows = dsrl_jax.train(TOY + "PointMass", backend="brax", **given)
    assert next(rows)["kind"] == "start"
    note = next(rows)
    assert note["kind"] == "note" and "multiples of num_envs 4: steps 92" in note["text"]
    rows.close()
