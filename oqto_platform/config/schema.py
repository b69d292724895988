"""The JSON Schema of `config.toml`, for editors that know `$schema`."""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from oqto_platform.config import keys
from oqto_platform.config.keys import Key, Kinds
from oqto_platform.config.view import plain
from oqto_platform.settings import Secret, Section

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ADDRESS = (
    "https://raw.githubusercontent.com/byteowlz/schemas/refs/heads/main/oqto/oqto.backend.config.schema.json"
)


def schema(kinds: Kinds) -> dict[str, Any]:
    """One object with a property per section; unknown keys are not allowed, as when the file is read."""
    return {
        "$schema": DRAFT,
        "$id": ADDRESS,
        "title": "Oqto configuration",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "profile": {"type": "string", "default": "default", "pattern": "^[^/]+$"},
            **{name: _table(name, kind) for name, kind in kinds.items()},
        },
        "additionalProperties": False,
    }


def _table(name: str, kind: type[Section]) -> dict[str, Any]:
    declared = keys.of(name, kind)
    found: dict[str, Any] = {
        "type": "object",
        "properties": {key.field.name: _key(key) for key in declared},
        "additionalProperties": False,
    }
    if needed := [key.field.name for key in declared if key.default is msgspec.NODEFAULT]:
        found["required"] = needed
    return found


def _key(key: Key) -> dict[str, Any]:
    """The type, and what JSON Schema has no word for: restart, secret, not supported yet."""
    if keys.is_section(key.hint):
        return _table(key.name, key.hint)
    marks = {
        "description": key.description,
        "x-sensitive": key.is_secret,
        "x-restart": key.restart,
        "x-not-supported-yet": key.needs,
    }
    found = _type(key.name, key.field.type) | {mark: value for mark, value in marks.items() if value}
    if key.default is not msgspec.NODEFAULT and key.default is not None:
        found["default"] = _finite(plain(key.default))
    return found


def _type(name: str, hint: Any) -> dict[str, Any]:
    inner = keys.element(keys.bare(hint))
    if keys.is_section(inner):
        is_list = typing.get_origin(keys.bare(hint)) is tuple
        table = _table(name, inner)
        return (
            {"type": "array", "items": table}
            if is_list
            else {"type": "object", "additionalProperties": table}
        )
    present = [member for member in typing.get_args(keys.bare(hint)) if member is not type(None)]
    if type(None) in typing.get_args(keys.bare(hint)):  # TOML has no null: what is unset is left out
        return _type(name, present[0])
    return msgspec.json.schema(hint, schema_hook=_secret)


def _finite(value: Any) -> Any:
    """JSON knows no infinity."""
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _secret(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": "string"}
    raise NotImplementedError(kind)
