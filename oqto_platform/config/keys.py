"""What the types of sections say about their keys. Everything else about configuration is derived from here."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from oqto_platform.settings import Secret, Section

Kinds = Mapping[str, type[Section]]


@dataclass(frozen=True)
class Key:
    """One key. `name` is dotted with its section; `hint` is its type without annotations."""

    name: str
    hint: Any
    field: msgspec.structs.FieldInfo
    meta: msgspec.Meta | None

    @property
    def description(self) -> str:
        return (self.meta.description if self.meta else None) or ""

    @property
    def default(self) -> Any:
        """`NODEFAULT` when the key must be given (only inside tables that are lists or maps)."""
        if self.field.default_factory is not msgspec.NODEFAULT:
            return self.field.default_factory()
        return self.field.default

    @property
    def is_secret(self) -> bool:
        return holds_secrets(self.hint)

    @property
    def restart(self) -> bool:
        return bool(self.mark("restart"))

    @property
    def needs(self) -> str:
        return str(self.mark("needs") or "")

    @property
    def expands(self) -> bool:
        return bool(self.mark("expand"))

    def mark(self, name: str) -> Any:
        """What `key(…)` says under that name."""
        return ((self.meta.extra or {}) if self.meta else {}).get(name)


def of_all(kinds: Kinds) -> Iterator[Key]:
    """Every key of every section, sections inside sections opened."""
    for name, kind in kinds.items():
        yield from leaves(name, kind)


def leaves(name: str, kind: type[Section]) -> Iterator[Key]:
    """The keys of one section; those of a section inside it come in its place."""
    for key in of(name, kind):
        if is_section(key.hint):
            yield from leaves(key.name, key.hint)
        else:
            yield key


def of(name: str, kind: type[Section]) -> tuple[Key, ...]:
    """The keys of one section as they are declared; `name` is the section's."""
    return tuple(Key(f"{name}.{field.name}", hint, field, meta) for field, hint, meta in _declared(kind))


def hints(kind: type[Section]) -> dict[str, Any]:
    """Key to bare type."""
    return {field.name: hint for field, hint, _ in _declared(kind)}


@functools.cache
def _declared(kind: type[Section]) -> tuple[tuple[msgspec.structs.FieldInfo, Any, msgspec.Meta | None], ...]:
    annotated = typing.get_type_hints(kind, include_extras=True)
    return tuple(
        (field, bare(annotated[field.name]), _meta(annotated[field.name]))
        for field in msgspec.structs.fields(kind)
    )


def _meta(hint: Any) -> msgspec.Meta | None:
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return next((meta for meta in metas if meta.extra is not None), None)


def bare(hint: Any) -> Any:
    """A type without its annotations."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a type: `int | None` → `(int, NoneType)`."""
    return tuple(map(bare, typing.get_args(hint))) if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else (hint,)  # fmt: skip


def element(hint: Any) -> Any:
    """What a list or a table of any names holds; `None` for other types."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return bare(arguments[0])
    return bare(arguments[1]) if origin is dict else None


def is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def is_text(hint: Any) -> bool:
    """Whether a value is written as it stands, without quotes, in a variable or on a command line."""
    return any(member in (str, Secret) or is_choice(member) for member in members(hint))


def is_choice(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def choices(hint: Any) -> tuple[Any, ...]:
    """The allowed values of a key that has few; else none."""
    return tuple(value for member in members(hint) if is_choice(member) for value in typing.get_args(member))


def holds_secrets(hint: Any) -> bool:
    """Whether values are secrets: one, a list or a table of them."""
    return any(member is Secret or element(member) is Secret for member in members(hint))
