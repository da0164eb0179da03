"""Devices and conditions of a run; where compiled programs are cached, and when they are not."""

import os

import jax
import pytest

from experiments.cli import machine


@pytest.fixture
def options(monkeypatch, tmp_path):
    """The options that JAX receives, if no variable but the cache directory is set."""
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


def place(options):
    return options["jax_compilation_cache_dir"]


def test_programs_for_different_threads_have_different_directories(options, monkeypatch, tmp_path):
    for variables, threads in ({}, machine.cores()), ({"NPROC": 5}, 5), ({"PJRT_NPROC": 3}, 3):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        machine.keep_compiled_programs()
        directory = tmp_path / "caches" / "dsrl_jax" / f"compiled_for_{threads}_threads"
        assert place(options) == str(directory) and directory.is_dir()
        assert options["jax_persistent_cache_min_compile_time_secs"] == machine.KEPT_FROM
        assert options["jax_persistent_cache_enable_xla_caches"] == "none"


@pytest.mark.parametrize("named", ["", "relative"])
def test_the_cache_is_in_the_home_directory_by_default(options, monkeypatch, tmp_path, named):
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", str(tmp_path))
    machine.keep_compiled_programs()
    assert place(options).startswith(str(tmp_path / ".cache" / "dsrl_jax"))


def test_the_variables_of_the_user_count(options, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    machine.keep_compiled_programs()
    assert "jax_persistent_cache_min_compile_time_secs" not in options
    options.clear()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    machine.keep_compiled_programs()
    assert not options


def test_nothing_is_cached_in_a_directory_that_cannot_be_written(options, monkeypatch):
    monkeypatch.setattr(os, "access", lambda directory, mode: False)
    machine.keep_compiled_programs()
    assert not options


def test_nothing_is_cached_if_no_directory_can_be_made(options, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    machine.keep_compiled_programs()
    assert not options


def test_nothing_is_cached_without_a_home_directory(options, monkeypatch):
    def fail():
        raise RuntimeError("no home")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(machine.Path, "home", fail)
    machine.keep_compiled_programs()
    assert not options


def test_changed_conditions_are_named():
    before = {"threads": 1, "versions": {"jax": "0.1", "numpy": "2"}}
    here = {"threads": 1, "versions": {"jax": "0.2", "numpy": "2"}}
    changed = machine.changed_conditions
    assert changed(here, [before, here]) == ["jax was 0.1 and is 0.2"]
    assert changed(here, [here, here]) == []
    assert changed(before | {"threads": 2}, [before]) == ["threads was 1 and is 2"]


@pytest.mark.parametrize(("device", "first"), [("cpu", "cpu"), ("gpu", "cuda"), ("tpu", "tpu")])
def test_a_device_is_a_platform_that_jax_can_start_without_others(monkeypatch, device, first):
    """JAX's own "gpu" means the platforms of all vendors and fails if one is missing."""
    monkeypatch.setenv("JAX_PLATFORMS", "")
    machine.choose_device(device, None)
    assert os.environ["JAX_PLATFORMS"].split(",")[0] == first
    assert set(machine.PLATFORMS) == {"cpu", "gpu", "tpu"}
