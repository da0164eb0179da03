"""Settings that describe themselves: default, unit, source and limits live at the field.

Needs neither JAX nor an environment library, so that a command line can be checked before either
is imported. The flags of the commands, their help and every check are made from these fields.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """What a value must fulfil, and how that is said."""

    text: str
    holds: Callable[[Any], bool]


FRACTION = Limit("in [0, 1]", lambda value: 0 <= value <= 1)
POSITIVE = Limit("positive", lambda value: 0 < value < float("inf"))
NOT_NEGATIVE = Limit("at least 0", lambda value: 0 <= value < float("inf"))
AT_LEAST_ONE = Limit("at least 1", lambda value: value >= 1)
OPTIONAL_NOT_NEGATIVE = Limit("at least 0, or none", lambda value: value is None or value >= 0)
POSITIVE_SIZES = Limit(
    "one or more positive sizes",
    lambda sizes: len(sizes) >= 1 and all(size >= 1 for size in sizes),
)


def one_of(*choices: str) -> Limit:
    """The limit of a setting that takes one of a few words."""
    return Limit("one of " + ", ".join(choices), lambda value: value in choices)


def setting(default: Any, description: str, *, limit: Limit, unit: str = "", source: str) -> Any:
    """A dataclass field with its help text, unit, source in the paper, and limit."""
    metadata = {"description": description, "limit": limit, "unit": unit, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


def check_limits(config: Any) -> None:
    """Holds every field of a config to its limit.

    Raises:
      ValueError: names the setting, what is allowed and what it got.
    """
    for field in dataclasses.fields(config):
        if limit := field.metadata.get("limit"):
            value = getattr(config, field.name)
            if not limit.holds(value):
                raise ValueError(f"{field.name} must be {limit.text}, got {value!r}")
