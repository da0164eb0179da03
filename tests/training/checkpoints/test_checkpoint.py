"""Checkpoints: what was saved comes back to the bit, and the replay's rows with it."""

import errno
import itertools
import os
from pathlib import Path
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.training.checkpoints.checkpoint import Checkpoints, RestoreError, Saved, read_last
from dsrl_jax.training.checkpoints.checksums import RECORD
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from tests.training.slow_replay import ACTION, OBSERVATION, steps_of_episodes


class Net(NamedTuple):
    params: dict
    masks: dict
    count: jax.Array


@pytest.fixture
def open_checkpoints(tmp_path):
    """The maker of the checkpoints of one directory, as a new process would open them."""
    opened = []

    def make(*tables):
        replay = Replay((0, 1), 100, OBSERVATION, ACTION)
        replay_file = ReplayFile(tmp_path / "replay", replay)
        opened.append(Checkpoints(tmp_path / "checkpoints", replay_file, tables))
        return opened[-1]

    yield make
    for checkpoints in opened:
        checkpoints.close()


@pytest.fixture
def tree(rng):
    kernel = rng.normal(size=(2, 5, 3)).astype(np.float32)
    kernel[0, 0] = [-0.0, np.float32(1e-45), np.inf]
    return {
        "state": Net(
            {"kernel": jnp.array(kernel), "bias": jnp.full(2, jnp.nan)},
            {"kernel": jnp.array(kernel > 0)},
            jnp.int32(2**31 - 1),
        ),
        "policies": {"last": rng.normal(size=(2, ACTION)).astype(np.float32)},
    }


def fill(checkpoints, rng, steps):
    for step in steps_of_episodes(rng, 2, steps, 0.2):
        checkpoints.replay_file.add(*step)


def save_twice(checkpoints, tree, rng, steps=(5, 10)):
    for step in steps:
        fill(checkpoints, rng, 5)
        checkpoints.save(step, Saved(tree, {"env_step": step}))


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def assert_equal_bits(tree, other):
    """Compares bytes, because NaN has to come back and -0 is not 0."""
    chex.assert_trees_all_equal_shapes_and_dtypes(tree, other)
    as_bytes = (jax.tree.map(lambda leaf: np.asarray(leaf).tobytes(), t) for t in (tree, other))
    assert next(as_bytes) == next(as_bytes)


def test_without_a_checkpoint_there_is_nothing_to_restore(open_checkpoints, tree):
    assert open_checkpoints().restore(tree) == Saved({}, {})


def test_what_was_saved_comes_back_to_the_bit(open_checkpoints, tree, rng):
    record = {"env_step": 12, "episode": [3, 2**31 - 1], "last_return": [float("nan"), 0.1 + 0.2]}
    first = open_checkpoints()
    fill(first, rng, 12)
    first.save(12, Saved(tree, record))
    found = open_checkpoints().restore(jax.tree.map(jnp.zeros_like, tree))
    assert_equal_bits(found.parts, tree)
    assert repr(found.record) == repr(record)


def test_the_last_checkpoint_is_restored_and_three_are_kept(open_checkpoints, tree, rng, tmp_path):
    first = open_checkpoints()
    for step in (5, 10, 15, 20):
        fill(first, rng, 5)
        first.save(step, Saved(jax.tree.map(lambda leaf: leaf + leaf, tree), {"env_step": step}))
    names = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()}
    assert names == {"10", "15", "20"}
    assert open_checkpoints().restore(tree).record == {"env_step": 20}


def test_a_checkpoint_finds_the_replay_as_it_was(open_checkpoints, tree, rng, tmp_path):
    first = open_checkpoints()
    fill(first, rng, 8)
    first.save(8, Saved(tree, {"env_step": 8}))
    rows = (tmp_path / "replay" / "transitions.f32").read_bytes()
    assert len(rows) == 8 * 2 * 4 * (OBSERVATION + ACTION + 3)  # on the disk before the checkpoint
    fill(first, rng, 3)
    first.replay_file.flush()
    second = open_checkpoints()
    second.restore(tree)
    assert len(second.replay_file.replay) == 8
    assert (tmp_path / "replay" / "transitions.f32").read_bytes() == rows


def test_without_room_nothing_is_written_and_the_one_before_stays(
    open_checkpoints, tree, rng, tmp_path, monkeypatch
):
    first = open_checkpoints()
    fill(first, rng, 5)
    first.save(5, Saved(tree, {"env_step": 5}))
    before = sorted(tmp_path.joinpath("checkpoints").rglob("*"))

    def fallocate(file, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fallocate)
        with pytest.raises(OSError, match="^no room for a checkpoint of .* No space left"):
            first.save(6, Saved(tree, {"env_step": 6}))
    assert sorted(tmp_path.joinpath("checkpoints").rglob("*")) == before
    assert open_checkpoints().restore(tree).record == {"env_step": 5}


def test_tables_are_cut_to_what_the_checkpoint_names(open_checkpoints, tree, rng, tmp_path):
    table, late = tmp_path / "table.csv", tmp_path / "late.csv"
    table.write_text("a,b\n1,2\n")
    first = open_checkpoints(table, late)
    fill(first, rng, 5)
    first.save(5, Saved(tree, {"env_step": 5}))
    table.write_text("a,b\n1,2\n3,4\n")
    late.write_text("after the checkpoint\n")
    open_checkpoints(table, late).restore(tree)
    assert table.read_text() == "a,b\n1,2\n" and not late.exists()


def test_a_checkpoint_without_its_record_does_not_count(open_checkpoints, tree, rng, tmp_path):
    first = open_checkpoints()
    for step in (5, 10):
        fill(first, rng, 5)
        first.save(step, Saved(tree, {"env_step": step}))
    (tmp_path / "checkpoints" / "10" / RECORD).unlink()
    found = open_checkpoints().restore(tree)
    assert found.record == {"env_step": 5}
    (note,) = found.notes
    assert note.startswith("checkpoint 10 cannot be used, it has no record.json")
    assert note.endswith("it is removed; continues from checkpoint 5")
    assert not (tmp_path / "checkpoints" / "10").exists()


def test_a_first_save_that_was_interrupted_starts_from_the_beginning_with_a_note(
    open_checkpoints, tree, rng, tmp_path
):
    save_twice(open_checkpoints(), tree, rng, steps=(5,))
    (tmp_path / "checkpoints" / "5" / RECORD).unlink()
    found = open_checkpoints().restore(tree)
    assert (found.parts, found.record) == ({}, {})
    (note,) = found.notes
    assert note.startswith("checkpoint 5 cannot be used") and note.endswith(
        "starts from the beginning"
    )
    assert not (tmp_path / "checkpoints" / "5").exists()


def test_checkpoints_that_all_lost_their_records_are_kept_and_raise(
    open_checkpoints, tree, rng, tmp_path
):
    save_twice(open_checkpoints(), tree, rng)
    for record in (tmp_path / "checkpoints").glob(f"*/{RECORD}"):
        record.unlink()
    again, before = open_checkpoints(), contents(tmp_path)
    with pytest.raises(RestoreError, match="checkpoint 10 .* has no record.json.*; checkpoint 5 "):
        again.restore(tree)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("call", ["open", "stat"])
def test_a_file_that_cannot_be_read_at_the_moment_is_not_damaged(
    open_checkpoints, tree, rng, tmp_path, monkeypatch, call
):
    save_twice(open_checkpoints(), tree, rng)
    again, before, works = open_checkpoints(), contents(tmp_path), getattr(Path, call)
    for name, number in itertools.product(
        (RECORD, "_METADATA", "transitions.f32"),
        (errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE),
    ):

        def fails(path, *arguments, _name=name, _number=number, **options):
            if path.name == _name:
                raise OSError(_number, os.strerror(_number), str(path))
            return works(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, call, fails)
            with pytest.raises(OSError, match=os.strerror(number)):
                again.restore(tree)
        assert contents(tmp_path) == before
    assert again.restore(tree).record == {"env_step": 10}


class Renamed(NamedTuple):
    """A field that is `weakest` in files."""

    threshold: jax.Array


class AsInFiles(NamedTuple):
    weakest: jax.Array


def test_a_field_that_was_renamed_keeps_its_name_in_files(open_checkpoints, tmp_path):
    now, then = ({"state": (kind(jnp.arange(3)),)} for kind in (Renamed, AsInFiles))
    open_checkpoints().save(1, Saved(then, {}))
    (found,) = read_last(tmp_path / "checkpoints", now).parts.values()
    assert isinstance(found[0], Renamed)
    np.testing.assert_array_equal(found[0].threshold, [0, 1, 2])
    open_checkpoints().save(2, Saved(now, {}))
    assert read_last(tmp_path / "checkpoints", then).parts.keys() == {"state"}


def test_a_reader_finds_the_last_one_while_the_run_trains(open_checkpoints, tree, rng, tmp_path):
    directory = tmp_path / "checkpoints"
    first = open_checkpoints()
    with pytest.raises(RestoreError, match="there is none"):
        read_last(directory, tree)
    for step in (5, 10):
        fill(first, rng, 5)
        first.save(step, Saved(tree, {"env_step": step}))
        fill(first, rng, 2)
    (directory / "15").mkdir()  # one that is being written
    assert read_last(directory, tree).record == {"env_step": 10}
    assert_equal_bits(read_last(directory, tree).parts, tree)
    policies = {"policies": tree["policies"]}
    assert_equal_bits(read_last(directory, policies).parts, policies)


def test_arrays_of_another_shape_raise(open_checkpoints, tree, rng):
    first = open_checkpoints()
    fill(first, rng, 5)
    first.save(5, Saved(tree, {"env_step": 5}))
    other = tree | {"policies": {"last": np.zeros(3, np.float32)}}
    with pytest.raises(RestoreError, match="5/policies is of other networks"):
        open_checkpoints().restore(other)
