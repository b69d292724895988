"""Each section of `config.toml` and each key of `sandbox.toml`, with types, defaults and marks."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec

from generators import sandbox
from generators.source import plugins, table
from oqto_platform.config.sections import CORE
from oqto_platform.settings import Secret, Section

HEAD = ("key", "type", "default", "meaning", "marks")
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Secret: "secret text"}
COMPARE = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def blocks() -> dict[str, str]:
    """One part per section, then the parts of the sandbox policy."""
    found: dict[str, str] = {}
    for name, kind in (CORE | of_plugins()).items():
        found |= parts(name, kind)
    return found | sandbox.blocks()


def of_plugins() -> dict[str, type[Section]]:
    """Sections that the plugins of this repository register, on either side."""
    found = {}
    for entry in [*plugins("core"), *plugins("runner")]:
        if register := getattr(entry.load(), "register_config", None):
            found[entry.name] = register()
    return found


def parts(name: str, kind: type[Section]) -> dict[str, str]:
    """The part of a section and those of the sections inside it."""
    hints = typing.get_type_hints(kind, include_extras=True)
    rows, inner = [], {}
    for field in msgspec.structs.fields(kind):
        bare = strip(hints[field.name])
        if nested := nested_section(bare):
            inner |= parts(f"{name}.{field.name}{suffix(bare)}", nested)
        rows.append(describe(field, hints[field.name]))
    title = f"[[{name.removesuffix('[]')}]]" if name.endswith("[]") else f"[{name}]"
    return {f"section {name}": f"### {title}\n\n{table(HEAD, rows)}"} | inner


def suffix(hint: Any) -> str:
    """How the tables of a field are written: one, a list of them, or one per name."""
    return {tuple: "[]", dict: ".NAME"}.get(typing.get_origin(hint), "")


def describe(field: msgspec.structs.FieldInfo, hint: Any) -> tuple[str, ...]:
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    extra = (metas[0].extra or {}) if metas else {}
    marks = ["restart"] if extra.get("restart") else []
    if needs := extra.get("needs"):
        marks.append(f"**not yet supported** ({needs})")
    meaning = metas[0].description if metas else ""
    return f"`{field.name}`", type_of(hint), default_of(field), meaning or "", ", ".join(marks)


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return "needed"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return f"`{literal(value)}`" if not isinstance(value, Section) else "its own"


def literal(value: Any) -> str:
    """The value as TOML has it."""
    if value is None:
        return "unset"
    if isinstance(value, Secret):
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(literal, value))}]"
    return str(value)


def strip(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def nested_section(hint: Any) -> type[Section] | None:
    """The section inside a field: itself, or the values of a table or list of sections."""
    candidates = [hint, *(argument for argument in typing.get_args(hint) if argument is not ...)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)


def type_of(hint: Any) -> str:
    """A type in words, with its limits."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return type_of(arguments[0]) + limits(arguments[1:])
    if origin is typing.Literal:
        return " or ".join(f'`"{value}"`' for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return type_of(next(argument for argument in arguments if argument is not type(None)))
    if origin is tuple:
        return f"list of {type_of(arguments[0])}s"
    if origin is dict:
        return f"table of {type_of(arguments[1])}s"
    return "table" if issubclass(hint, Section) else WORDS[hint]


def limits(metas: tuple[Any, ...]) -> str:
    found = [
        f"{sign} {value}"
        for meta in metas
        for name, sign in COMPARE.items()
        if (value := getattr(meta, name, None)) is not None
    ]
    return f", {', '.join(found)}" if found else ""
