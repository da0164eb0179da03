"""Settings that describe themselves: default, unit, source and limits live at the field.

Needs neither JAX nor an environment library, so that a command line can be checked before either
is imported. The flags of the commands, their help and every check are made from these fields.
"""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, get_args

Config = TypeVar("Config")


class Limit(NamedTuple):
    """What a value must fulfil, and how that is said."""

    text: str
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()  # The words that are allowed, where it is one of a few.


FRACTION = Limit("in [0, 1]", lambda value: 0 <= value <= 1)
POSITIVE = Limit("positive", lambda value: 0 < value < float("inf"))
NOT_NEGATIVE = Limit("at least 0", lambda value: 0 <= value < float("inf"))
AT_LEAST_ONE = Limit("at least 1", lambda value: value >= 1)
OPTIONAL_SPARSITY = Limit(
    "at least 0 and below 1, or none", lambda value: value is None or 0 <= value < 1
)
OPTIONAL_FINITE = Limit("finite, or none", lambda value: value is None or math.isfinite(value))
YES_OR_NO = Limit("true or false", lambda value: isinstance(value, bool))
OPTIONAL_NOT_NEGATIVE = Limit("at least 0, or none", lambda value: value is None or value >= 0)
OPTIONAL_COUNT = Limit(
    "a whole number of at least 1, or none",
    lambda value: value is None or (isinstance(value, numbers.Integral) and int(value) >= 1),
)
POSITIVE_SIZES = Limit(
    "one or more positive sizes",
    lambda sizes: len(sizes) >= 1 and all(size >= 1 for size in sizes),
)


def some_of(*choices: str) -> Limit:
    """The limit of a setting that takes one or more of a few words, each once."""
    return Limit(
        "one or more of " + ", ".join(choices),
        lambda words: 0 < len(set(words)) == len(words) and set(words) <= set(choices),
    )


def one_of(*choices: str, optional: bool = False) -> Limit:
    """The limit of a setting that takes one of a few words, or none where it is optional."""
    text = "one of " + ", ".join(choices) + (", or none" if optional else "")
    return Limit(text, lambda value: value in choices or (optional and value is None), choices)


def setting(default: Any, description: str, *, limit: Limit, unit: str = "", source: str) -> Any:
    """A dataclass field with its help text, unit, source in the paper, and limit."""
    metadata = {"description": description, "limit": limit, "unit": unit, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(config: Any) -> list[dataclasses.Field]:
    """Every setting of a config or its class, in order, those of a config inside it included."""
    found = []
    for field in dataclasses.fields(config):
        found += settings_of(field.type) if dataclasses.is_dataclass(field.type) else [field]
    return found


def is_number(field: dataclasses.Field) -> bool:
    """Whether a setting is a float, or none in its place: it may differ between members."""
    return field.type is float or float in get_args(field.type)


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with some settings changed by name, wherever in it they stand."""
    changes = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = override(value, values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def flatten(config: Any) -> dict[str, Any]:
    """Every setting's value by name, in order."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= flatten(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Raises ValueError unless there are seeds, all different, which a key takes."""
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**31:
        raise ValueError(
            f"seeds must be different whole numbers from 0 to {2**31 - 1}, got {seeds}"
        )


def near_names(word: Any, choices: Iterable[str], prefix: str = "") -> str:
    """What an error says at its end: "; did you mean …?", or nothing if no choice is near."""
    near = difflib.get_close_matches(str(word), list(choices), n=3)
    return f"; did you mean {' or '.join(prefix + name for name in near)}?" if near else ""


def check_limits(config: Any) -> None:
    """Holds every setting of a config to its limit.

    Raises:
      ValueError: names the setting, what is allowed, what it got, and the words that are near.
    """
    values = flatten(config)
    for field in settings_of(config):
        limit, value = field.metadata["limit"], values[field.name]
        if field.type is int and not isinstance(value, numbers.Integral):
            raise ValueError(f"{field.name} must be a whole number, got {value!r}")
        try:
            holds = limit.holds(value)
        except TypeError:  # Of another type altogether.
            holds = False
        if not holds:
            hint = near_names(value, limit.choices)
            raise ValueError(f"{field.name} must be {limit.text}, got {value!r}{hint}")
