"""Without EnvPool its tasks raise an error that says what to install."""

import sys

import pytest

from dsrl_jax.envs import envpool
from tests.envs.refusal import refusal


@pytest.mark.parametrize(
    ("function", "name"), [(envpool.make, "Ant-v3"), (envpool.resolve_id, "Ant-v3")]
)
def test_without_envpool_the_message_says_what_to_install(monkeypatch, function, name):
    monkeypatch.setitem(sys.modules, "envpool", None)  # an import of it fails
    assert "pip install 'dsrl_jax[envpool]'" in refusal(function, name)
