"""The public names of the package, and its error if a library is missing."""

import importlib

import pytest

import dsrl_jax


@pytest.mark.parametrize("name", dsrl_jax.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(dsrl_jax, name).__doc__


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'gymnasium'", name="gymnasium")

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(ModuleNotFoundError, match=r"train needs gymnasium: .*\[gymnasium\]"):
        dsrl_jax.train  # noqa: B018


def test_an_unknown_name_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="'dsrl_jax' has no attribute 'tran'"):
        dsrl_jax.tran  # noqa: B018
