"""Where compiled programs are kept, and when they are not."""

import jax
import pytest

from experiments import machine


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """What JAX is told; nothing is named, and the user's cache directory is a temporary one."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    return told


def test_compiled_programs_are_kept_apart_by_threads(settings, tmp_path):
    found = []
    for threads in (3, 1, None):
        machine.keep_compiled_programs(threads)
        found.append(settings["jax_compilation_cache_dir"])
    names = [f"compiled_for_{threads}_threads" for threads in (3, 1, machine.cores())]
    assert found == [str(tmp_path / "caches" / "dsrl_jax" / name) for name in names]
    assert all((tmp_path / "caches" / "dsrl_jax" / name).is_dir() for name in names)


def test_compiled_programs_are_kept_in_the_home_by_default(settings, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    machine.keep_compiled_programs(2)
    assert settings["jax_compilation_cache_dir"].startswith(str(tmp_path / ".cache" / "dsrl_jax"))


def test_a_named_directory_is_kept_to(settings, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    machine.keep_compiled_programs(None)
    assert not settings


def test_where_nothing_can_be_written_nothing_is_kept(settings, tmp_path):
    (tmp_path / "caches").write_text("a file")
    machine.keep_compiled_programs(None)
    assert not settings
