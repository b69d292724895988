"""What msgspec says of a wrong value, in the words of `docs/reference/config.md`, and where the value stands."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import msgspec

from oqto_platform.config import keys

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time of day",
}
TYPES = {
    bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object",
    dt.datetime: "datetime", dt.date: "date", dt.time: "time",
}  # fmt: skip
OUGHT = re.compile(r"`([a-z |]+)`")
MISSING = re.compile(r"Object missing required field `(.+)`")
OF_A_TABLE = "[...]"
"""What msgspec writes for a name in a table whose names are free."""
ITEM_OF_A_LIST = re.compile(r"\[(\d+)\]\.")

Convert = Callable[[Any, Any], object]


def kind_of(value: Any) -> str:
    """What a value of a TOML file is."""
    return KINDS[TYPES[type(value)]]


def sentence(message: str, allowed: tuple[Any, ...]) -> str:
    """The rest of a sentence that begins with the name of the key. `allowed`: its values, where it has few."""
    if missing := MISSING.fullmatch(message):
        return f"{missing[1]} is missing"
    values = ", ".join(map(repr, allowed))
    if message.startswith("Invalid enum value ") and allowed:
        return f"{message.removeprefix('Invalid enum value ')} is none of {values}"
    words = OUGHT.sub(lambda found: _ought(found[1]), message.replace("got `float`", "got a fraction"))
    return f"{words[:1].lower()}{words[1:]}" + (f" (allowed: {values})" if allowed else "")


def _ought(types: str) -> str:
    return " or ".join(KINDS.get(name, name) for name in types.split(" | ") if name != "null")


def place(hint: Any, value: Any, error: msgspec.ValidationError, convert: Convert) -> tuple[str, Any]:
    """The dotted way to what is wrong inside `value`, which should be a `hint`, and what should be there."""
    steps = str(error).partition(" - at `$")[2].rstrip("`").lstrip(".")
    head, is_of_a_table, _ = steps.partition(OF_A_TABLE)
    within = _follow(hint, head)
    if not is_of_a_table:
        return ITEM_OF_A_LIST.sub(r".\1.", steps), within
    for name, item in _value_at(value, head).items():
        try:
            convert(item, inner := keys.element(within))
        except msgspec.ValidationError as exc:
            rest, wanted = place(inner, item, exc, convert)
            return f"{head}.{name}{'.' if rest else ''}{rest}", wanted
    return head, within


def _follow(hint: Any, steps: str) -> Any:
    for name, number in _each(steps):
        kinds = [kind for kind in keys.members(hint) if keys.is_section(kind)]
        hint = keys.hints(kinds[0]).get(name) if kinds else None
        hint = keys.element(hint) if number else hint
    return hint


def _value_at(value: Any, steps: str) -> Any:
    for name, number in _each(steps):
        value = value[name][int(number)] if number else value[name]
    return value


def _each(steps: str) -> list[tuple[str, str]]:
    return re.findall(r"(\w+)(?:\[(\d+)\])?", steps)
