"""Seals: any change of what was sealed is noticed, what comes after it is not its business."""

import os
from pathlib import Path

import pytest

from dsrl_jax.training.checkpoints import checksums as seals
from dsrl_jax.training.checkpoints.checksums import (
    EMPTY,
    check_seal,
    cut_file,
    seal_file,
    write_atomic,
)


@pytest.fixture(params=[1, 7, 1 << 20], ids="chunk {}".format)
def path(tmp_path, request, monkeypatch):
    monkeypatch.setattr(seals, "_CHUNK", request.param)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(50)))
    return path


def test_a_seal_that_grows_is_the_seal_of_the_whole(path):
    first = seal_file(path)
    with path.open("ab") as file:
        file.write(b"more")
    assert first != seal_file(path, first) == seal_file(path)
    assert seal_file(path, first).size == 54


def test_every_change_of_what_was_sealed_is_noticed(path):
    seal, held = seal_file(path), path.read_bytes()
    check_seal(path, seal)
    for place in range(len(held)):
        changed = bytearray(held)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="was changed"):
            check_seal(path, seal)
    path.write_bytes(held[:-1])
    with pytest.raises(ValueError, match="holds 49 of 50 bytes"):
        check_seal(path, seal)


def test_what_comes_after_it_is_cut(path):
    seal, held = seal_file(path), path.read_bytes()
    path.write_bytes(held + b"more")
    check_seal(path, seal)
    cut_file(path, seal)
    assert path.read_bytes() == held


def test_a_file_that_is_not_there_is_empty(tmp_path):
    path = tmp_path / "none"
    assert seal_file(path) == EMPTY
    check_seal(path, EMPTY)
    path.touch()
    check_seal(path, EMPTY)
    cut_file(path, EMPTY)
    assert not path.exists()


def test_a_new_name_is_on_the_disk_when_it_is_written(tmp_path, monkeypatch):
    events, replace, sync = [], Path.replace, os.fsync

    def recording_replace(path, target):
        events.append("replace")
        return replace(path, target)

    def recording_sync(number):
        is_directory = os.path.samestat(os.fstat(number), tmp_path.stat())
        events.append("sync directory" if is_directory else "sync file")
        sync(number)

    monkeypatch.setattr(Path, "replace", recording_replace)
    monkeypatch.setattr(os, "fsync", recording_sync)
    write_atomic(tmp_path / "record", "text")
    assert events == ["sync file", "replace", "sync directory"]
