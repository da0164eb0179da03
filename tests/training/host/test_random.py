"""Numbers drawn on the host follow from (seed, stream, counter), and from nothing else."""

import itertools

import gymnasium
import numpy as np
import pytest

from dsrl_jax.training.host.random import Stream, episode_seed, generator


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("counter", [0, 1, 10**9])
def test_equal_arguments_give_equal_numbers(seed, stream, counter):
    first, second = (generator(seed, stream, counter).random(100) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_different_arguments_give_different_numbers():
    arguments = list(itertools.product(range(4), Stream, range(4)))
    draws = [generator(*each).random(1000) for each in arguments]
    assert np.unique(np.concatenate(draws)).size == 1000 * len(arguments)


def test_a_generator_leaves_no_state_behind():
    expected = generator(0, Stream.REPLAY_SAMPLE, 2).random(10)
    np.random.seed(1)
    generator(0, Stream.REPLAY_SAMPLE, 1).random(7)
    np.testing.assert_array_equal(generator(0, Stream.REPLAY_SAMPLE, 2).random(10), expected)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_episodes_have_seeds_of_their_own_that_gymnasium_takes(seed):
    seeds = [episode_seed(seed, episode) for episode in range(1000)]
    assert seeds == [episode_seed(seed, episode) for episode in range(1000)]
    assert all(type(each) is int and 0 <= each < 2**31 for each in seeds)
    assert len(set(seeds)) == 1000
    gymnasium.make("tests.toy_environments:PointMass-v0").reset(seed=max(seeds))


def test_members_have_other_episodes():
    first, second = ({episode_seed(seed, i) for i in range(1000)} for seed in (0, 1))
    assert not first & second
