"""Where compiled programs are kept, and when they are not."""

import os

import jax
import pytest

from experiments.cli import machine


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What JAX is told, where no variable says more than that caches are in a temporary place."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "PJRT_NPROC", "NPROC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    found = {}

    def update(name, value):
        assert name in jax.config.values
        found[name] = value

    monkeypatch.setattr(jax.config, "update", update)
    return found


def place(told):
    return told["jax_compilation_cache_dir"]


def test_compiled_programs_are_kept_apart_by_threads(told, monkeypatch, tmp_path):
    for variables, threads in ({}, machine.cores()), ({"NPROC": 5}, 5), ({"PJRT_NPROC": 3}, 3):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        machine.keep_compiled_programs()
        directory = tmp_path / "caches" / "dsrl_jax" / f"compiled_for_{threads}_threads"
        assert place(told) == str(directory) and directory.is_dir()
        assert told["jax_persistent_cache_min_compile_time_secs"] == machine.KEPT_FROM
        assert told["jax_persistent_cache_enable_xla_caches"] == "none"


@pytest.mark.parametrize("named", ["", "relative"])
def test_they_are_kept_in_the_home_by_default(told, monkeypatch, tmp_path, named):
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", str(tmp_path))
    machine.keep_compiled_programs()
    assert place(told).startswith(str(tmp_path / ".cache" / "dsrl_jax"))


def test_what_the_user_says_of_them_holds(told, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    machine.keep_compiled_programs()
    assert "jax_persistent_cache_min_compile_time_secs" not in told
    told.clear()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    machine.keep_compiled_programs()
    assert not told


def test_in_a_directory_that_cannot_be_written_nothing_is_kept(told, monkeypatch):
    monkeypatch.setattr(os, "access", lambda directory, mode: False)
    machine.keep_compiled_programs()
    assert not told


def test_where_no_directory_can_be_made_nothing_is_kept(told, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    machine.keep_compiled_programs()
    assert not told


def test_without_a_home_nothing_is_kept(told, monkeypatch):
    def fail():
        raise RuntimeError("no home")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(machine.Path, "home", fail)
    machine.keep_compiled_programs()
    assert not told
