"""Values of settings as they are written on a command line, and read from it."""

from collections.abc import Sequence
from typing import Any, get_args, get_origin


class UsageError(ValueError):
    """A command line that cannot be run, in one line for the person who typed it."""


def parse_value(name: str, kind: Any, text: str) -> Any:
    """A word from the command line in a setting's type. Raises UsageError."""
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
            return _whole_number(text)
        return float(text) if kind is float else text
    except (ValueError, KeyError, OverflowError):
        expected = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            tuple[float, ...]: "numbers: 0.5,0.9",
        }.get(kind, "whole numbers: 256,256")
        is_list = "," in text and kind in (int, float, bool)
        hint = "; a sweep takes lists: python -m experiments.sweep" if is_list else ""
        raise UsageError(f"--{name} must be {expected}, got {text!r}{hint}") from None


def format_value(value: Any) -> str:
    """A setting's value as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def check_different(name: str, found: Sequence[Any]) -> None:
    """Raises UsageError for a list that names a value twice."""
    twice = [value for place, value in enumerate(found) if value in found[:place]]
    if twice:
        raise UsageError(f"--{name} names {format_value(twice[0])} twice: leave one out")


def _whole_number(text: str) -> int:
    """Whole numbers, also written 1e6 or 1_000_000."""
    number = float(text)
    if number != int(number):
        raise ValueError(text)
    return int(number)
