"""Names of environments, their sizes, and errors of one line."""

import numpy as np
import pytest

from dsrl_jax.envs import gymnasium as environments
from tests.envs.refusal import refusal

TOYS = "tests.toy_environments:"

# FACTS.md, Environments: observation and action sizes of Gymnasium's v5.
PAPER_SIZES = {
    "halfcheetah": (17, 6),
    "hopper": (11, 3),
    "walker2d": (17, 6),
    "ant": (105, 8),
    "humanoid": (348, 17),
}


@pytest.mark.parametrize(
    ("alias", "env_id"),
    [
        ("halfcheetah", "HalfCheetah-v5"),
        ("hopper", "Hopper-v5"),
        ("walker2d", "Walker2d-v5"),
        ("ant", "Ant-v5"),
        ("humanoid", "Humanoid-v5"),
    ],
)
def test_an_alias_means_the_current_version(alias, env_id):
    assert environments.resolve_id(alias) == env_id


@pytest.mark.parametrize("name", ["HalfCheetah-v4", "Pendulum-v1", TOYS + "PointMass-v0"])
def test_an_id_means_itself(name):
    assert environments.resolve_id(name) == name


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("HalfCheeta-v5", "HalfCheetah-v5"),
        ("halfcheetah-v5", "HalfCheetah-v5"),
        ("halfcheeta", "halfcheetah"),
        ("HalfCheetah", "halfcheetah"),
        ("HOPPER", "hopper"),
        ("walker", "walker2d"),
    ],
)
def test_an_unknown_name_raises_and_suggests_near_ones(name, near):
    message = refusal(environments.resolve_id, name)
    assert repr(name) in message
    hint = message.split("did you mean ")[1]
    assert near in hint.removesuffix("?").split(" or ")


@pytest.mark.parametrize("name", ["", "zzzzzzzz"])
def test_a_name_without_near_ones_raises_and_lists_what_is_allowed(name):
    message = refusal(environments.resolve_id, name)
    assert repr(name) in message and "did you mean" not in message
    assert all(alias in message for alias in PAPER_SIZES)


@pytest.mark.parametrize("alias", PAPER_SIZES)
def test_the_papers_environments_have_the_sizes_of_facts(alias):
    env_id = environments.resolve_id(alias)
    environment = environments.make(env_id)
    sizes = environments.read_sizes(env_id, environment)
    environment.close()
    assert (sizes.observation_size, len(sizes.action_low)) == PAPER_SIZES[alias]
    bound = np.float32(0.4 if alias == "humanoid" else 1.0)
    np.testing.assert_array_equal(np.float32(sizes.action_high), bound)
    np.testing.assert_array_equal(np.float32(sizes.action_low), -bound)


def test_bounds_are_those_of_each_dimension():
    env_id = TOYS + "Asymmetric-v0"
    sizes = environments.read_sizes(env_id, environments.make(env_id))
    assert sizes == (2, (-1.0, 0.25), (0.5, 2.0))
    assert hash(sizes) == hash(tuple(sizes))  # static under jit


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("DiscreteAction-v0", "action must be a flat Box, got Discrete(3)"),
        ("MatrixAction-v0", "action must be a flat Box"),
        ("UnboundedAction-v0", "action must be bounded"),
        ("WideUnboundedAction-v0", "action must be bounded"),
        ("Image-v0", "observation must be a flat Box"),
        ("DiscreteObservation-v0", "observation must be a flat Box, got Discrete(5)"),
    ],
)
def test_spaces_in_which_no_agent_can_act_raise(name, what):
    message = refusal(environments.make, TOYS + name)
    assert repr(TOYS + name) in message and what in message


@pytest.mark.parametrize(
    ("env_id", "what"),
    [
        ("no_such_module:PointMass-v0", "No module named 'no_such_module'"),
        (TOYS + "NoSuch-v0", "NoSuch"),
        (TOYS + "PointMass-v7", "PointMass-v7"),
        (TOYS, ""),
        (":PointMass-v0", ""),
        ("..toys:PointMass-v0", ""),
        (TOYS + "more:PointMass-v0", ""),
    ],
)
def test_an_id_that_cannot_be_made_raises(env_id, what):
    message = refusal(environments.make, env_id)
    assert repr(env_id) in message and what in message


def test_an_environment_has_its_time_limit():
    assert environments.make("Hopper-v5").spec.max_episode_steps == 1000
