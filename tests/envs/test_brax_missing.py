"""Without Brax its tasks raise an error that says what to install; custom ones need no Brax."""

import sys

import pytest

from dsrl_jax.envs import brax
from experiments import run
from tests.envs.refusal import refusal


@pytest.fixture(autouse=True)
def missing(monkeypatch):
    """Makes the import of Brax fail."""
    for name in [name for name in sys.modules if name.split(".")[0] == "brax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brax", None)


@pytest.mark.parametrize("function", [brax.make, brax.resolve_id])
def test_without_brax_the_message_says_what_to_install(function):
    assert "pip install 'dsrl_jax[brax]'" in refusal(function, "ant")


def test_without_brax_a_command_ends_in_one_line(capsys):
    assert run.main(["--backend=brax", "--env=ant", "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert "pip install 'dsrl_jax[brax]'" in said and said.count("\n") == 1


def test_a_custom_environment_needs_no_brax():
    environment = brax.make(brax.resolve_id("tests.toy_brax:PointMass"))
    assert brax.read_sizes(environment) == (2, (-1.0,), (1.0,))
