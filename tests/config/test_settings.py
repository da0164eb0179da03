"""Settings of a config and of a nested config: override, list and check them by name."""

import dataclasses

import pytest

from dsrl_jax.config.settings import (
    FRACTION,
    OPTIONAL_FINITE,
    OPTIONAL_NOT_NEGATIVE,
    POSITIVE,
    check_limits,
    flatten,
    one_of,
    override,
    setting,
    settings_of,
    some_of,
)
from tests.envs.refusal import refusal


@dataclasses.dataclass(frozen=True)
class Inner:
    share: float = setting(0.5, "of the whole", limit=FRACTION, source="a book")
    size: float = setting(2.0, "of it", unit="m", limit=POSITIVE, source="a book")


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str = setting("a", "which", limit=one_of("a", "b"), source="a book")
    inner: Inner = Inner(size=3.0)
    end: int | None = setting(None, "when", limit=OPTIONAL_NOT_NEGATIVE, source="a book")


def test_override_changes_settings_in_nested_configs_too():
    changed = override(Outer(), {"name": "b", "share": 0.25, "end": 7})
    assert changed == Outer("b", Inner(0.25, 3.0), 7)
    assert Outer() == Outer("a", Inner(0.5, 3.0), None)  # unchanged
    assert override(Outer(end=3), {}) == Outer(end=3)
    assert override(Outer(end=3), {"end": None}).end is None


def test_override_ignores_names_of_other_configs():
    """The settings of an agent and of a loop come in one dictionary."""
    assert override(Outer(), {"steps": 3, "size": 1.0}) == Outer(inner=Inner(size=1.0))


def test_flatten_lists_every_setting_in_order_and_override_inverts_it():
    values = flatten(Outer(end=4))
    assert list(values.items()) == [("name", "a"), ("share", 0.5), ("size", 3.0), ("end", 4)]
    config = Outer("b", Inner(0.1, 0.2), 3)
    assert override(Outer(), flatten(config)) == config


@pytest.mark.parametrize("config", [Outer, Outer()])
def test_settings_of_a_config_or_its_class(config):
    found = settings_of(config)
    assert [setting.name for setting in found] == ["name", "share", "size", "end"]
    assert found[2].metadata == {
        "description": "of it",
        "limit": POSITIVE,
        "unit": "m",
        "source": "a book",
    }


def test_limits_are_checked_in_nested_configs_too():
    check_limits(Outer("b", Inner(1.0, 1e-9), 0))
    for config, message in [
        (Outer("c"), "name must be one of a, b, got 'c'"),
        (Outer("ab"), "name must be one of a, b, got 'ab'; did you mean b or a?"),
        (Outer(end=-1), "end must be at least 0, or none, got -1"),
        (Outer(inner=Inner(share=1.5)), "share must be in [0, 1], got 1.5"),
        (Outer(inner=Inner(size=float("inf"))), "size must be positive, got inf"),
        (Outer(inner=Inner(share=float("nan"))), "share must be in [0, 1], got nan"),
    ]:
        assert refusal(check_limits, config) == message


def test_some_of_takes_each_word_at_most_once_and_at_least_one():
    limit = some_of("x", "y", "z")
    assert limit.text == "one or more of x, y, z"
    assert [limit.allows(words) for words in [("x",), ("z", "x"), ("x", "y", "z")]] == [True] * 3
    assert [limit.allows(words) for words in [(), ("x", "x"), ("w",), ("x", "w")]] == [False] * 4


def test_optional_limits_take_none():
    assert not one_of("x", "y").allows(None)
    limit = one_of("x", "y", optional=True)
    assert limit.text == "one of x, y, or none"
    assert limit.allows(None) and limit.allows("x") and not limit.allows("z")
    allowed = [OPTIONAL_FINITE.allows(value) for value in (None, -2, float("nan"))]
    assert allowed == [True, True, False]
