"""The replay on the host, compared to a list of tuples for each member."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsrl_jax.training.host.random import Stream, generator
from dsrl_jax.training.host.replay import Replay
from tests.training.slow_replay import (
    ACTION,
    OBSERVATION,
    SlowReplay,
    assert_equal_replays,
    empty_replay,
    steps_of_episodes,
)


def filled(rng, *, seeds=(0, 1, 2), capacity=50, steps=200, end_probability=0.2):
    """A replay and its slow counterpart after the same steps."""
    replay, slow = Replay(seeds, capacity, OBSERVATION, ACTION), SlowReplay(len(seeds))
    for step in steps_of_episodes(rng, len(seeds), steps, end_probability):
        replay.add(*step)
        slow.add(*step)
    return replay, slow


def as_set(rows):
    return {row.tobytes() for row in rows}


@pytest.mark.parametrize("end_probability", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("capacity", [1, 2, 7, 40])
def test_every_batch_is_one_of_the_slow_replays(rng, capacity, end_probability):
    seeds = (0, 5, 9)
    replay, slow = Replay(seeds, capacity, OBSERVATION, ACTION), SlowReplay(3)
    for count, step in enumerate(steps_of_episodes(rng, 3, 6 * capacity + 20, end_probability), 1):
        replay.add(*step)
        slow.add(*step)
        assert len(replay) == min(count, capacity)
        batch = replay.sample(16, count)
        for member, seed in enumerate(seeds):
            draw = generator(seed, Stream.REPLAY_SAMPLE, count)
            index = draw.integers(min(count, capacity), size=16)
            np.testing.assert_array_equal(batch[member], slow.rows(member, capacity)[index])


@pytest.mark.parametrize("end_probability", [0.1, 1.0])
@pytest.mark.parametrize("steps", [29, 30, 31, 32, 500])
def test_exactly_the_last_transitions_are_ever_sampled(rng, steps, end_probability):
    replay, slow = filled(rng, capacity=30, steps=steps, end_probability=end_probability)
    sampled = np.concatenate([replay.sample(100, step) for step in range(20)], axis=1)
    for member in range(3):
        assert as_set(sampled[member]) == as_set(slow.rows(member, 30))


def test_a_time_limit_keeps_its_true_next_observation_and_is_no_termination(rng):
    replay = Replay((0,), 10, OBSERVATION, ACTION)
    here, beyond, start = rng.normal(size=(3, 1, OBSERVATION)).astype(np.float32)
    action, reward, no, yes = np.zeros((1, ACTION)), np.ones(1), np.array([False]), np.array([True])
    replay.add(here, action, reward, no, yes, beyond)
    expected = np.concatenate([here[0], [0, 0, 1, 0], beyond[0]], dtype=np.float32)
    np.testing.assert_array_equal(replay.sample(1, 0)[0, 0], expected)
    replay.add(start, action, reward, yes, no, here)  # The next episode takes the following row.
    assert as_set(replay.sample(50, 0)[0]) >= {expected.tobytes()}


def test_last_observations_survive_when_short_episodes_follow_long_ones(rng):
    """The memory for them grows after the first of them have been forgotten."""
    replay, slow = Replay((0, 1, 2), 60, OBSERVATION, ACTION), SlowReplay(3)
    probabilities = np.repeat([0.1, 1.0], [300, 100])
    for count, step in enumerate(steps_of_episodes(rng, 3, 400, probabilities), 1):
        replay.add(*step)
        slow.add(*step)
        if count == 300:
            assert (replay.oldest_final > 0).all() and replay.finals.shape[1] == 16
        elif count > 300:
            for member, batch in enumerate(replay.sample(200, 0)):
                assert as_set(batch) <= as_set(slow.rows(member, 60))
    assert replay.finals.shape[1] == 64


def test_last_observations_take_no_more_memory_once_the_ring_is_full(rng):
    replay, _ = filled(rng, capacity=20, steps=100, end_probability=1.0)
    before = replay.finals.nbytes
    for step in steps_of_episodes(rng, 3, 2000, 1.0):
        replay.add(*step)
    assert replay.finals.nbytes == before


def test_a_batch_follows_from_seed_and_step(rng):
    replay, _ = filled(rng)
    batches = [replay.sample(32, step) for step in range(50)]
    for step in reversed(range(50)):
        np.testing.assert_array_equal(replay.sample(32, step), batches[step])
    assert len({batch[0].tobytes() for batch in batches}) == 50


def test_members_sample_independently(rng):
    replay = Replay((0, 1), 100, OBSERVATION, ACTION)
    alone = Replay((1,), 100, OBSERVATION, ACTION)
    for step in steps_of_episodes(rng, 1, 100, 0.1):
        alone.add(*step)
        replay.add(*(np.repeat(array, 2, axis=0) for array in step))
    first, second = replay.sample(32, 7)
    np.testing.assert_array_equal(second, alone.sample(32, 7)[0])
    assert not np.array_equal(first, second)  # The same transitions, but other draws.


def test_sampling_is_uniform(rng):
    replay, slow = filled(rng, capacity=50, steps=73)
    sampled = np.concatenate([replay.sample(100, step) for step in range(200)], axis=1)
    for member in range(3):
        counts = {key: 0 for key in as_set(slow.rows(member, 50))}
        for row in sampled[member]:
            counts[row.tobytes()] += 1
        expected = 200 * 100 / 50
        chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
        assert chi_square < 85.4  # 99.9 % of the distribution with 49 degrees of freedom


def test_draws_are_with_replacement(rng):
    replay, _ = filled(rng, capacity=50, steps=3)
    assert replay.sample(100, 0).shape == (3, 100, 2 * OBSERVATION + ACTION + 2)


def test_what_was_added_may_change_afterwards(rng):
    replay, slow = Replay((0, 1), 10, OBSERVATION, ACTION), SlowReplay(2)
    for step in steps_of_episodes(rng, 2, 25, 0.3):
        own = [array.copy() for array in step]
        replay.add(*own)
        slow.add(*step)
        for array in own:
            array[:] = 1
    for member, batch in enumerate(replay.sample(200, 0)):
        assert as_set(batch) == as_set(slow.rows(member, 10))


@settings(deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(1, 3),
    capacity=st.integers(1, 40),
    pieces=st.lists(st.integers(0, 90), min_size=1, max_size=6),
    ends=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
)
@example(seed=0, members=2, capacity=15, pieces=[20], ends=1.0)  # as many ends as there is room for
def test_many_transitions_at_once_are_as_one_after_the_other(seed, members, capacity, pieces, ends):
    """Pieces longer and shorter than the ring, among single ones, before and after it is full."""
    rng = np.random.default_rng(seed)
    replay, slow = empty_replay(members, capacity), empty_replay(members, capacity)
    for piece in pieces:
        probabilities = ends * (np.arange(piece) % 50 < 25)  # Memory grows late, or never again.
        steps = list(steps_of_episodes(rng, members, piece, probabilities))
        for step in steps:
            slow.add(*step)
        if len(steps) == 1:
            replay.add(*steps[0])
        elif steps:
            replay.extend(*map(np.stack, zip(*steps, strict=True)))
        assert_equal_replays(replay, slow)
