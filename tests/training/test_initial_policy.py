"""Agents whose first transitions are a trained policy's: real agents, tiny networks."""

import json
import shutil

import jax
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe, from_description
from dsrl_jax.envs import catalog
from dsrl_jax.training import train as training
from dsrl_jax.training.initial_policy import with_initial_policy
from experiments import run
from experiments.run_dir.directory import DirectoryError, check_directory
from tests.training.runs import TOYS, comparable, read_replay, replay_bytes

POINT_MASS = TOYS + "PointMass-v0"
START_STEPS, STEPS = 20, 40
# As flags too: the policies are made by the command.
SETTINGS = {
    "hidden_sizes": (8,),
    "batch_size": 8,
    "start_steps": START_STEPS,
    "steps": STEPS,
    "eval_period": 20,
    "checkpoint_period": 20,
    "log_period": 20,
    "eval_episodes": 1,
}
FLAGS = [f"--{name}={str(value).strip('(,)')}" for name, value in SETTINGS.items()]


@pytest.fixture(scope="module", autouse=True)
def broadcasting():
    # The agents broadcast between ranks, on purpose.
    with jax.numpy_rank_promotion("allow"):
        yield


def make_policy(directory, *arguments):
    command = [f"--env={POINT_MASS}", *FLAGS, f"--run_dir={directory}", *arguments]
    assert run.main(command) == 0
    return directory


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A run whose policy explores without noise."""
    place = tmp_path_factory.mktemp("policies")
    return make_policy(place / "exact", "--algo=td3", "--seed=3", "--exploration_noise=0")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A run of a stochastic policy."""
    place = tmp_path_factory.mktemp("policies")
    return make_policy(place / "noisy", "--algo=sac", "--seed=3")


def start_from(policy, algo="td3", seeds=(1,), **settings):
    experiment = resolve(POINT_MASS, algo, seeds=seeds, settings=SETTINGS | settings)
    return with_initial_policy(experiment, catalog.look_up_sizes(POINT_MASS), policy)


def actions_of(experiment, directory):
    rows = list(training.run(experiment, directory))
    columns = read_replay(directory, len(experiment.seeds), experiment.loop.steps)
    return rows, columns[0], columns[1]


def test_the_first_actions_are_the_policys_and_then_the_agents(exact, tmp_path):
    _, observations, actions = actions_of(start_from(exact), tmp_path)
    by_policy = dsrl_jax.load_policy(exact)(observations)
    np.testing.assert_allclose(actions[:START_STEPS], by_policy[:START_STEPS], atol=1e-6)
    assert np.abs(actions[START_STEPS:] - by_policy[START_STEPS:]).max() > 0.01


def test_a_policy_of_another_algorithm_acts_while_the_agent_already_learns(exact, tmp_path):
    experiment = start_from(exact, algo="sac")
    assert experiment.updates_at(START_STEPS) > 0
    _, observations, actions = actions_of(experiment, tmp_path)
    by_policy = dsrl_jax.load_policy(exact)(observations)
    np.testing.assert_allclose(actions[:START_STEPS], by_policy[:START_STEPS], atol=1e-6)


def test_the_policy_explores_as_it_was_trained_each_member_by_itself(noisy, tmp_path):
    _, observations, actions = actions_of(start_from(noisy, seeds=(1, 2)), tmp_path)
    off = np.abs(actions - dsrl_jax.load_policy(noisy)(observations))[:START_STEPS]
    assert (off.max(axis=-1) > 0).all()
    assert len(np.unique(off)) > START_STEPS  # no draw is shared


def test_a_run_that_was_stopped_among_the_first_steps_goes_on_exactly(noisy, tmp_path):
    experiment = start_from(noisy)
    whole, _, _ = actions_of(experiment, tmp_path / "whole")
    steps = iter(range(STEPS))
    here = tmp_path / "stopped"
    stopped = list(training.run(experiment, here, stop=lambda: next(steps) == 6))
    assert stopped[-1] == {"kind": "stopped", "env_step": 7}
    rows = comparable(stopped) + comparable(training.run(start_from(noisy), here))
    assert rows == comparable(whole)
    assert replay_bytes(here) == replay_bytes(tmp_path / "whole")


def test_a_policy_is_its_content_not_its_place(exact, noisy, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(exact, copied)
    experiment, other = start_from(exact), start_from(noisy)
    assert start_from(copied) == experiment != other
    described = describe(experiment)["initial_policy"]
    assert described | {"sha256": ""} == {
        "algo": "td3",
        "preset": "paper",
        "seed": 3,
        "env_step": STEPS,
        "sha256": "",
    }
    assert from_description(json.loads(json.dumps(describe(experiment)))) == experiment
    directory = tmp_path / "run"
    directory.mkdir()
    config = {"format": 1, **describe(experiment)}
    (directory / "config.json").write_text(json.dumps(config))
    assert check_directory(directory, start_from(copied)) == config
    for different in (other, resolve(POINT_MASS, "td3", seeds=1, settings=SETTINGS)):
        with pytest.raises(DirectoryError, match="initial_policy is "):
            check_directory(directory, different)


def test_the_command_says_whose_steps_come_first(exact, tmp_path, capsys):
    command = [f"--env={POINT_MASS}", "--algo=td3", *FLAGS, f"--run_dir={tmp_path / 'run'}"]
    assert run.main([*command, f"--initial_policy={exact}"]) == 0
    assert "note: in the first 20 steps td3, seed 3, acts, trained" in capsys.readouterr().out
    held = json.loads((tmp_path / "run" / "config.json").read_text())
    assert held["initial_policy"]["env_step"] == STEPS
    assert run.main(command) == 2
    assert "another run: initial_policy is {" in capsys.readouterr().err


def test_train_takes_a_policy(exact):
    rows = dsrl_jax.train(POINT_MASS, "td3", seeds=(1,), initial_policy=exact, **SETTINGS)
    plain = dsrl_jax.train(POINT_MASS, "td3", seeds=(1,), **SETTINGS)
    ours, theirs = comparable(rows, "training"), comparable(plain, "training")
    assert ours and ours != theirs


def remove_checkpoints(directory):
    shutil.rmtree(directory / "checkpoints")


def cut_config(directory):
    (directory / "config.json").write_text("{")


def edit(**changes):
    def change(directory):
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (shutil.rmtree, [], "is no run directory: No such file"),
        (remove_checkpoints, [], "has no policy: no checkpoint can be used"),
        (cut_config, [], "config.json is damaged"),
        (edit(env="Hopper-v5"), [], "is of env 'Hopper-v5', this run of"),
        (edit(observation_size=3), [], "is of observation_size 3, this run of 2"),
        (edit(seeds=[3, 4]), [], "holds 2 seeds, which have a policy each; name a run of one"),
        (edit(initial_policy={"algo": "td3"}), [], "initial_policy cannot be read"),
        (None, ["--start_steps=0"], "acts in the first start_steps steps, got start_steps 0"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(
    exact, tmp_path, capsys, change, arguments, message
):
    policy = tmp_path / "policy"
    shutil.copytree(exact, policy)
    if change:
        change(policy)
    place = tmp_path / "run"
    command = [f"--env={POINT_MASS}", "--algo=td3", *FLAGS, f"--run_dir={place}", *arguments]
    assert run.main([*command, f"--initial_policy={policy}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: initial_policy") and said.count("\n") == 1
    assert message in said and not place.exists()


def test_brax_has_none(exact):
    experiment = resolve("ant", "td3", backend="brax", settings=SETTINGS)
    with pytest.raises(ValueError, match="^initial_policy is of environments on the host, got"):
        with_initial_policy(experiment, catalog.look_up_sizes(POINT_MASS), exact)
