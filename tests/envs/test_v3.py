"""The preset v3: names, sizes, the observations that it pads and zeroes, and its reward."""

import warnings

import gymnasium
import numpy as np
import pytest

from dsrl_jax.envs import gymnasium as environments
from tests.envs.refusal import refusal
from tests.envs.v3_tasks import (
    FALLING,
    TASKS,
    check_always_zero,
    check_falls,
    check_reward,
    random_steps,
)

IDS = {
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
    "ant": "Ant-v4",
    "humanoid": "Humanoid-v4",
}


def make(alias):
    return environments.make(environments.resolve_id(alias, "v3"), "v3")


@pytest.mark.parametrize("alias", TASKS)
def test_an_alias_means_the_nearest_to_the_paper(alias):
    assert environments.resolve_id(alias, "v3") == IDS[alias]


@pytest.mark.parametrize("name", ["Ant-v4", "HalfCheetah-v5", "Pendulum-v1", "pkg:Mine-v0", ""])
def test_other_names_raise_and_list_what_is_allowed(name):
    message = refusal(environments.resolve_id, name, "v3")
    assert repr(name) in message and "env_preset" in message
    assert all(alias in message for alias in IDS)


@pytest.mark.parametrize("env_id", ["Ant-v5", "Hopper-v5", "HalfCheetah-v4", "Pendulum-v1"])
def test_other_ids_raise_and_list_what_is_allowed(env_id):
    message = refusal(environments.make, env_id, "v3")
    assert repr(env_id) in message and all(allowed in message for allowed in IDS.values())


def test_other_presets_raise_and_list_what_is_allowed():
    assert environments.ENV_PRESETS == ("v5", "v3")
    for function, name in ((environments.resolve_id, "ant"), (environments.make, "Ant-v4")):
        message = refusal(function, name, "v4")
        assert "'v4'" in message and all(preset in message for preset in environments.ENV_PRESETS)


@pytest.mark.parametrize("alias", TASKS)
def test_the_preset_has_the_sizes_and_the_time_limit_of_v3(alias):
    environment = make(alias)
    sizes = environments.read_sizes(alias, environment)
    observation, _ = environment.reset(seed=0)
    environment.close()
    assert sizes.observation_size == TASKS[alias].observation_size
    assert len(sizes.action_low) == TASKS[alias].action_size
    assert observation in environment.observation_space
    assert environment.spec.max_episode_steps == 1000


@pytest.mark.parametrize("alias", TASKS)
def test_the_preset_is_silent(alias):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(alias).close()


def test_an_old_id_warns_that_it_is_old():
    with pytest.warns(DeprecationWarning, match="Ant-v4 is out of date"):
        environments.make("Ant-v4").close()


@pytest.mark.parametrize(("alias", "kept"), [("ant", 27), ("humanoid", 292), ("hopper", 11)])
def test_the_preset_changes_only_contact_forces(alias, kept):
    preset = random_steps(make(alias), 60)
    plain = random_steps(gymnasium.make(gymnasium.spec(IDS[alias])), 60)
    np.testing.assert_array_equal(preset.observation[:, :kept], plain.observation[:, :kept])
    np.testing.assert_array_equal(preset.reward, plain.reward)
    np.testing.assert_array_equal(preset.terminated, plain.terminated)
    if alias == "humanoid":
        assert plain.observation[:, kept:].any()  # or there was nothing to set to 0


@pytest.mark.parametrize("alias", TASKS)
def test_random_steps_obey_v3(alias):
    steps = random_steps(make(alias), 300)
    assert steps.terminated.any() == (alias in FALLING)
    check_always_zero(TASKS[alias], steps)
    check_reward(TASKS[alias], steps)
    check_falls(TASKS[alias], steps)


@pytest.mark.parametrize("alias", FALLING)
def test_v5_does_not_obey_v3(alias):
    steps = random_steps(environments.make(environments.resolve_id(alias)), 300)
    with pytest.raises(AssertionError):
        check_reward(TASKS[alias], steps)
