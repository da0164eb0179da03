"""Checksums detect every change of a file's beginning, and ignore what follows it."""

import os
from pathlib import Path

import pytest

from dsrl_jax.training.checkpoints import checksums
from dsrl_jax.training.checkpoints.checksums import (
    EMPTY,
    check_file,
    compute_checksum,
    cut_file,
    write_atomic,
)


@pytest.fixture(params=[1, 7, 1 << 20], ids="chunk {}".format)
def path(tmp_path, request, monkeypatch):
    monkeypatch.setattr(checksums, "_CHUNK", request.param)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(50)))
    return path


def test_a_checksum_that_grows_is_the_checksum_of_the_whole(path):
    first = compute_checksum(path)
    with path.open("ab") as file:
        file.write(b"more")
    assert first != compute_checksum(path, first) == compute_checksum(path)
    assert compute_checksum(path, first).size == 54


def test_every_change_is_detected(path):
    checksum, content = compute_checksum(path), path.read_bytes()
    check_file(path, checksum)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="was changed"):
            check_file(path, checksum)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="holds 49 of 50 bytes"):
        check_file(path, checksum)


def test_what_comes_after_it_is_cut(path):
    checksum, content = compute_checksum(path), path.read_bytes()
    path.write_bytes(content + b"more")
    check_file(path, checksum)
    cut_file(path, checksum)
    assert path.read_bytes() == content


def test_a_file_that_does_not_exist_is_empty(tmp_path):
    path = tmp_path / "none"
    assert compute_checksum(path) == EMPTY
    check_file(path, EMPTY)
    path.touch()
    check_file(path, EMPTY)
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
