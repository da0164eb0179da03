"""Converts values between a setting's type and the text of a command line."""

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from absl import flags

MOST_SEEDS = 10_000


class UsageError(ValueError):
    """A command line that cannot be run; the message is one line for the user."""


def parse_value(name: str, kind: Any, text: str) -> Any:
    """Returns the text as a value of a setting's type. Raises UsageError."""
    if type(None) in get_args(kind):
        return None if text.lower() == "none" else parse_value(name, get_args(kind)[0], text)
    try:
        if get_origin(kind) is tuple:
            element = get_args(kind)[0]
            read = element if element in (int, float) else str
            return tuple(read(part) for part in text.split(","))
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is int:
            number = float(text)  # 1e6 is a whole number too.
            if not number.is_integer():
                raise ValueError(text)
            return int(number)
        return float(text) if kind is float else text
    except (ValueError, KeyError):
        expected = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            tuple[float, ...]: "numbers: 0.5,0.9",
        }.get(kind, "whole numbers: 256,256")
        is_list = "," in text and kind in (int, float, bool)
        hint = "; a sweep takes lists: python -m experiments.sweep" if is_list else ""
        raise UsageError(f"--{name} must be {expected}, got {text!r}{hint}") from None


def parse_count(name: str, text: str) -> int:
    """Returns the text as a whole number of at least 1. Raises UsageError."""
    count = parse_value(name, int, text)
    if count < 1:
        raise UsageError(f"--{name} must be at least 1, got {count}")
    return count


def parse_list(name: str, kind: Any, text: str) -> tuple[Any, ...]:
    """Returns a list of values: 0.1,0.2; or 64,64;256,256 if a value itself has commas.

    Raises:
      UsageError: if a value is not of the setting's type or appears twice.
    """
    words = text.split(";" if get_origin(kind) is tuple else ",")
    found = tuple(parse_value(name, kind, word) for word in words)
    check_different(name, found)
    return found


def parse_seeds(values: flags.FlagValues) -> tuple[int, ...]:
    """Returns the seeds of --seed or --seeds; 0:5 means 0, 1, 2, 3, 4. Raises UsageError."""
    if values["seed"].present and values["seeds"].present:
        raise UsageError("give either --seed or --seeds, not both")
    given = [values[name].value for name in ("seed", "seeds") if values[name].present]
    text = str(given[0]) if given else "0"
    try:
        if values.seeds and ":" in text:
            first, end = (int(part) for part in text.split(":"))
            seeds: Sequence[int] = range(first, end)
        else:
            seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds must be like 0:5 or 1,2,7, got {text!r}") from None
    if not seeds:
        raise UsageError(f"--seeds must name at least one seed, like 0:5 or 1,2,7, got {text!r}")
    if seeds[MOST_SEEDS:]:
        raise UsageError(f"--seeds must name at most {MOST_SEEDS:,} seeds, got {text!r}")
    return tuple(seeds)


def format_value(value: Any) -> str:
    """Returns a setting's value as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def check_different(name: str, found: Sequence[Any]) -> None:
    """Raises UsageError if a list has a value twice."""
    twice = [value for place, value in enumerate(found) if value in found[:place]]
    if twice:
        raise UsageError(f"--{name} names {format_value(twice[0])} twice: leave one out")
