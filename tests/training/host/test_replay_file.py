"""The replay's files: what was written comes back, cut to a checkpoint's step, or it raises."""

import tempfile
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrl_jax.training.host import replay_file as module
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from tests.training.slow_replay import (
    ACTION,
    OBSERVATION,
    assert_equal_replays,
    empty_replay,
    refill,
    steps_of_episodes,
)

SEEDS = (0, 1, 2)
STEPS = 60
NAMES = ("transitions.f32", "finals.f32")
FLOAT = 4  # bytes


@pytest.fixture
def open_replay(tmp_path):
    """The maker of an empty replay and its files in a directory; closes them in the end."""
    opened = []

    def make(directory="run", capacity=1000):
        replay = Replay(SEEDS, capacity, OBSERVATION, ACTION)
        opened.append(ReplayFile(tmp_path / directory, replay))
        return opened[-1], replay

    yield make
    for file in opened:
        file.close()


@pytest.fixture(params=[0.0, 0.15, 1.0], ids=lambda p: f"ends {p}")
def steps(rng, request):
    """Arguments of `add`, for STEPS steps and a few more."""
    return list(steps_of_episodes(rng, len(SEEDS), STEPS + 10, request.param))


@pytest.fixture
def few_ends(rng):
    return list(steps_of_episodes(rng, len(SEEDS), STEPS, 0.15))


def write(file, steps):
    for step in steps:
        file.add(*step)
    file.flush()


def contents(file):
    file.flush()
    return [path.read_bytes() for path in file.paths]


def finished(steps):
    return int(sum((terminated | truncated).sum() for _, _, _, terminated, truncated, _ in steps))


def assert_equal_batches(replay, other):
    for step in range(4):
        np.testing.assert_array_equal(replay.sample(64, step), other.sample(64, step))


def test_files_hold_what_the_docstring_says(open_replay, steps, tmp_path):
    file, _ = open_replay()
    write(file, steps)
    transitions, finals = (np.fromfile(tmp_path / "run" / name, np.float32) for name in NAMES)
    records = transitions.reshape(len(steps), len(SEEDS), OBSERVATION + ACTION + 3)
    expected = []
    for record, step in zip(records, steps, strict=True):
        observation, action, reward, terminated, truncated, following = step
        ended = terminated | truncated
        np.testing.assert_array_equal(record[:, :OBSERVATION], observation)
        np.testing.assert_array_equal(record[:, OBSERVATION:-3], action)
        flags = np.stack([reward, terminated, ended], axis=1).astype(np.float32)
        np.testing.assert_array_equal(record[:, -3:], flags)
        expected.extend(following[ended])
    np.testing.assert_array_equal(finals, np.ravel(expected))


@pytest.mark.parametrize("capacity", [7, 1000])
@pytest.mark.parametrize("chunk", [7, 4096])
@pytest.mark.parametrize("kept", [1, 14, STEPS])
def test_a_restored_replay_goes_on_as_the_one_that_was_written(
    open_replay, steps, kept, chunk, capacity, monkeypatch
):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    written, _ = open_replay()
    write(written, steps[:STEPS])
    file, restored = open_replay(capacity=capacity)
    file.restore(kept)
    uninterrupted, other = open_replay("other", capacity)
    for step in steps[:kept]:
        uninterrupted.add(*step)
        other.add(*step)
    assert len(restored) == min(kept, capacity)
    assert contents(file) == contents(uninterrupted)
    for step in steps[kept : kept + 10]:
        for each in (restored, other, file, uninterrupted):
            each.add(*step)
        assert_equal_batches(restored, other)
    assert contents(file) == contents(uninterrupted)


@settings(deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(1, 3),
    capacity=st.integers(1, 120),
    steps=st.integers(0, 100),
    later=st.integers(0, 20),
    chunk=st.integers(1, 60),
    ends=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
)
def test_a_replay_is_filled_as_by_one_transition_after_the_other(
    seed, members, capacity, steps, later, chunk, ends
):
    """Files that hold more than the checkpoint, and histories that the ring does not hold."""
    episodes = steps_of_episodes(np.random.default_rng(seed), members, steps + later, ends)
    restored, slow = empty_replay(members, capacity), empty_replay(members, capacity)
    with tempfile.TemporaryDirectory() as place, mock.patch.object(module, "_CHUNK", chunk):
        with closing(ReplayFile(Path(place), restored)) as file:
            write(file, episodes)
            refill(slow, file.paths, steps)
            file.restore(steps)
    assert_equal_replays(restored, slow)


def test_a_restored_replay_lacks_only_the_newest_next_observation(open_replay, steps):
    """If the episode continues, it comes with the next transition, before anything is sampled."""
    written, _ = open_replay()
    write(written, steps[:STEPS])
    file, restored = open_replay()
    file.restore(STEPS)
    _, other = open_replay("other")
    for step in steps[:STEPS]:
        other.add(*step)
    for step in range(20):
        ours, theirs = restored.sample(64, step), other.sample(64, step)
        for member in range(len(SEEDS)):
            newest = (ours[member, :, :OBSERVATION] == steps[STEPS - 1][0][member]).all(axis=1)
            np.testing.assert_array_equal(ours[member, ~newest], theirs[member, ~newest])
            columns = slice(None) if _ended(steps[STEPS - 1], member) else slice(-OBSERVATION)
            np.testing.assert_array_equal(ours[member, :, columns], theirs[member, :, columns])


def _ended(step, member):
    return (step[3] | step[4])[member]


def test_restored_last_actions_lead_to_where_the_episode_stood(open_replay, few_ends):
    written, _ = open_replay()
    write(written, few_ends)
    file, _ = open_replay()
    file.restore(40)
    for member in range(len(SEEDS)):
        expected = [action[member] for _, action, *_ in few_ends[30:40]]
        np.testing.assert_array_equal(file.last_actions(40, member, 10), expected)


@pytest.mark.parametrize("lost", [1, FLOAT, FLOAT * len(SEEDS) * (OBSERVATION + ACTION + 3)])
def test_a_transitions_file_that_is_too_short_raises(open_replay, few_ends, lost):
    written, _ = open_replay()
    write(written, few_ends)
    path = written.paths[0]
    path.write_bytes(path.read_bytes()[:-lost])
    file, _ = open_replay()
    with pytest.raises(ValueError, match=f"transitions.f32.* {STEPS - 1} steps.* {STEPS}"):
        file.restore(STEPS)


@pytest.mark.parametrize("lost", [1, FLOAT, FLOAT * OBSERVATION, None], ids=str)
def test_a_finals_file_that_is_too_short_raises(open_replay, few_ends, lost):
    written, _ = open_replay()
    write(written, few_ends)
    path = written.paths[1]
    path.write_bytes(path.read_bytes()[: -lost if lost else 0])
    file, _ = open_replay()
    with pytest.raises(ValueError, match="finals.f32"):
        file.restore(STEPS)


def test_a_final_is_never_taken_for_another_members(open_replay, few_ends):
    """Of three episodes that end together, the files hold the last observation of one."""
    ended = np.ones(len(SEEDS), bool)
    observation, action, reward, *_, following = few_ends[0]
    written, _ = open_replay()
    write(written, [(observation, action, reward, ended, ~ended, following)])
    path = written.paths[1]
    path.write_bytes(path.read_bytes()[: FLOAT * OBSERVATION])
    file, _ = open_replay()
    with pytest.raises(ValueError):
        file.restore(1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("torn", [1, FLOAT, 5 * FLOAT])
def test_a_row_that_was_cut_short_after_the_checkpoint_is_forgotten(
    open_replay, few_ends, name, torn, tmp_path
):
    written, _ = open_replay()
    write(written, few_ends)
    expected = contents(written)
    with (tmp_path / "run" / name).open("ab") as file:
        file.write(bytes(torn))
    file, _ = open_replay()
    file.restore(STEPS)
    assert contents(file) == expected


def test_flush_brings_every_row_to_the_disk(open_replay, few_ends):
    file, _ = open_replay()
    write(file, few_ends)
    sizes = [path.stat().st_size for path in file.paths]
    row = FLOAT * len(SEEDS) * (OBSERVATION + ACTION + 3)
    assert sizes == [STEPS * row, finished(few_ends) * FLOAT * OBSERVATION]
