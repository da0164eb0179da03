"""Settings that describe themselves: each field stores its help text, unit, source and limit.

The commands make their flags, help texts and checks from these fields. This folder imports neither
JAX nor an environment library, so that a command checks its flags before it loads either.
"""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, get_args

Config = TypeVar("Config")


class Limit(NamedTuple):
    """The values that a setting accepts.

    text: completes "must be …" in help texts and error messages
    allows: whether a value is accepted
    choices: the accepted words, if the setting takes one of a few
    """

    text: str
    allows: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


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
    """Returns the limit of a setting that takes one or more different words."""
    return Limit(
        "one or more of " + ", ".join(choices),
        lambda words: 0 < len(set(words)) == len(words) and set(words) <= set(choices),
    )


def one_of(*choices: str, optional: bool = False) -> Limit:
    """Returns the limit of a setting that takes one word, or also None if it is optional."""
    text = "one of " + ", ".join(choices) + (", or none" if optional else "")
    return Limit(text, lambda value: value in choices or (optional and value is None), choices)


def setting(default: Any, description: str, *, limit: Limit, unit: str = "", source: str) -> Any:
    """Returns a dataclass field that stores its help text, unit, source and limit."""
    metadata = {"description": description, "limit": limit, "unit": unit, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(config: Any) -> list[dataclasses.Field]:
    """Lists the settings of a config or of its class in order, including nested configs."""
    found = []
    for field in dataclasses.fields(config):
        found += settings_of(field.type) if dataclasses.is_dataclass(field.type) else [field]
    return found


def is_number(field: dataclasses.Field) -> bool:
    """Returns whether a setting is a float or an optional float: members may differ in it."""
    return field.type is float or float in get_args(field.type)


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns the config with new values by name, in nested configs too; ignores other names."""
    changes = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = override(value, values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def flatten(config: Any) -> dict[str, Any]:
    """Returns the value of every setting by name, in order, including nested configs."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= flatten(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def near_names(word: Any, choices: Iterable[str], prefix: str = "") -> str:
    """Returns "; did you mean …?" with the nearest choices, or "" if none is near."""
    near = difflib.get_close_matches(str(word), list(choices), n=3)
    return f"; did you mean {' or '.join(prefix + name for name in near)}?" if near else ""


def check_choice(what: str, name: str, choices: Iterable[str]) -> None:
    """Raises ValueError, which names the nearest choices, unless `name` is one of them."""
    choices = list(choices)
    if name not in choices:
        hint = near_names(name, choices)
        raise ValueError(f"{what} must be one of {', '.join(choices)}, got {name!r}{hint}")


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Raises ValueError unless there are seeds, all different and from 0 to 2**31 - 1."""
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**31:
        raise ValueError(
            f"seeds must be different whole numbers from 0 to {2**31 - 1}, got {seeds}"
        )


def check_limits(config: Any) -> None:
    """Checks every setting of a config against its limit.

    Raises:
      ValueError: names the setting, the allowed values, the given value, and the nearest words.
    """
    values = flatten(config)
    for field in settings_of(config):
        limit, value = field.metadata["limit"], values[field.name]
        if field.type is int and not isinstance(value, numbers.Integral):
            raise ValueError(f"{field.name} must be a whole number, got {value!r}")
        try:
            allowed = limit.allows(value)
        except TypeError:  # The value cannot be compared with the limit.
            allowed = False
        if not allowed:
            hint = near_names(value, limit.choices)
            raise ValueError(f"{field.name} must be {limit.text}, got {value!r}{hint}")
