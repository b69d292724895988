"""Values as people see them: secrets hidden, with where each came from."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from oqto_platform.config import keys
from oqto_platform.config.keys import Key, Kinds
from oqto_platform.settings import Secret, Section, Settings

HIDDEN = "***"
DEFAULT = "default"

KeyType = Literal["switch", "number", "integer", "text", "choice", "list", "table", "secret"]
PLAIN: dict[Any, KeyType] = {bool: "switch", int: "integer", float: "number", str: "text", Secret: "secret"}


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """
    One key. `value` is what holds now; `wanted`, when `is_pending`, what holds after the next start.

    `origin`: `default`, a file, a variable or `command line`. `needs`: the feature that this version lacks.
    """

    name: str
    type: KeyType
    description: str
    value: Any
    default: Any
    wanted: Any = None
    origin: str
    restart: bool
    is_pending: bool
    needs: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


def views(kinds: Kinds, running: Settings, wanted: Settings) -> Iterator[KeyView]:
    """Every key of every section, in the order of their declaration."""
    for key in keys.of_all(kinds):
        now, later = value_of(running, key.name), value_of(wanted, key.name)
        low, high = limits(key)
        yield KeyView(
            name=key.name,
            type=type_of(key.hint),
            description=key.description,
            value=plain(now),
            default=plain(key.default),
            wanted=plain(later) if later != now else None,
            origin=origin_of(wanted, key.name),
            restart=key.restart,
            is_pending=later != now,
            needs=key.needs,
            choices=tuple(map(str, keys.choices(key.hint))),
            minimum=low,
            maximum=high,
        )


def value_of(settings: Settings, name: str) -> Any:
    """The value of a dotted key."""
    section, *steps = name.split(".")
    value: Any = settings.any_section(section)
    for step in steps:
        value = getattr(value, step)
    return value


def origin_of(settings: Settings, name: str) -> str:
    """Where a value was set; for a table, where its first entry was."""
    inside = (origin for key, origin in settings.origins.items() if key.startswith(f"{name}."))
    return settings.origins.get(name) or next(inside, DEFAULT)


def plain(value: Any) -> Any:
    """JSON-able, with every secret as `***` (or empty, when it is)."""
    return msgspec.to_builtins(value, enc_hook=_hide)


def _hide(value: Any) -> Any:
    if isinstance(value, Secret):
        return HIDDEN if value else ""
    raise NotImplementedError(f"{type(value).__name__} in a section")


def type_of(hint: Any) -> KeyType:
    """How a key is edited."""
    member = next(kind for kind in keys.members(hint) if kind is not type(None))
    if member in PLAIN:
        return PLAIN[member]
    if keys.is_choice(member):
        return "choice"
    is_list = typing.get_origin(member) is tuple and not keys.is_section(keys.element(member))
    return "list" if is_list else "table"


def limits(key: Key) -> tuple[float | None, float | None]:
    """The smallest and the largest value allowed."""
    metas = [key.meta, *_inner_metas(key.field.type)]
    low = next((m.ge for m in metas if m is not None and m.ge is not None), None)
    high = next((m.le for m in metas if m is not None and m.le is not None), None)
    return low, high


def _inner_metas(hint: Any) -> list[msgspec.Meta]:
    """Metas of the alternatives of a type: `Annotated[int, Meta(ge=1)] | None`."""
    found = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return found + [meta for inner in typing.get_args(hint) for meta in _inner_metas(inner)]


def without_none(value: Any) -> Any:
    """TOML has no null: what is not set is left out."""
    if isinstance(value, dict):
        return {name: without_none(inner) for name, inner in value.items() if inner is not None}
    return value


def shown(value: Any) -> str:
    """A plain value as TOML has it, on one line."""
    if value is None:
        return "unset"
    if isinstance(value, Section):
        return shown(plain(value))
    import tomlkit

    return tomlkit.item(value).as_string().strip() if not isinstance(value, dict) else _inline(value)


def _inline(value: dict[str, Any]) -> str:
    return (
        "{"
        + ", ".join(f"{name} = {shown(inner)}" for name, inner in value.items() if inner is not None)
        + "}"
    )
