"""The keys of `sandbox.toml`: who may state each, how two statements meet, what the profiles say."""

from __future__ import annotations

from typing import Any
from unittest import mock

from oqto_plugin_sandbox.policy import profiles, schema

from generators.source import table

HEAD = ("key", "type", "who may state it", "two statements", *profiles.BUILT_IN)
HOME = "~"
WHO = {
    "base": "the base file only",
    "user": "the base file, or the user's",
    "all": "every file",
}
MEETS = {
    "_either": "true wins",
    "_both": "false wins",
    "_union": "both lists together",
    "_common_names": "what both name",
    "_lower": "the smaller",
    "_narrowed.<locals>.meet": "what both allow",
    "_stricter.<locals>.meet": "the stricter",
}
KINDS = {
    "bool": "true or false",
    "count": "whole number above 0",
    "name": "text",
    "paths": "list of paths",
    "patterns": "list of paths, `*` allowed",
    "domains": "list of host names, `*.` allowed",
    "names": "list of variable names, `*` allowed",
}
LONG = 3


def blocks() -> dict[str, str]:
    """The table of keys, then the long lists of the profiles."""
    flats = profile_values()
    rows = [row(name, key, flats) for name, key in schema.KEYS.items()]
    return {
        "sandbox keys": f"### Keys of sandbox.toml\n\n{table(HEAD, rows)}",
        "sandbox lists": f"### Lists of the built-in profiles\n\n{lists(flats)}",
    }


def profile_values() -> dict[str, dict[str, Any]]:
    """Every profile, flat, as on a kernel that has Landlock."""
    with mock.patch.object(profiles, "landlock_version", return_value=1):
        return {name: schema.flatten(profiles.built_in(name, HOME)) for name in profiles.BUILT_IN}


def row(name: str, key: schema.Key, flats: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    kind = " or ".join(f'`"{choice}"`' for choice in key.choices) or KINDS[key.kind]
    note = f" **Not available**: {key.unavailable}." if key.unavailable else ""
    values = [value_of(flats[profile].get(name, "")) for profile in profiles.BUILT_IN]
    return f"`{name}`", kind + note, WHO[key.who], MEETS.get(key.meet.__qualname__, ""), *values


def value_of(value: Any) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return (
            f"{len(value)} entries, below"
            if len(value) > LONG
            else ", ".join(f"`{v}`" for v in value) or "none"
        )
    return f"`{value}`" if value != "" else ""


def lists(flats: dict[str, dict[str, Any]]) -> str:
    """Each long list once, with the profiles that have it."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for profile, flat in flats.items():
        for name, value in flat.items():
            if isinstance(value, tuple) and len(value) > LONG:
                found.setdefault((name, value), []).append(f"`{profile}`")
    texts = [
        f"`{name}` of {', '.join(where)}: {', '.join(f'`{item}`' for item in value)}."
        for (name, value), where in found.items()
    ]
    return "\n\n".join(texts)
