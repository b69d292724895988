"""One section: from the values in files and variables to a checked, frozen Struct."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.config import keys, view, words
from oqto_platform.config.expand import ExpansionError, expand
from oqto_platform.config.files import Tree
from oqto_platform.config.nearest import nearest
from oqto_platform.errors import ConfigError
from oqto_platform.settings import Secret, Section

BRACES = re.compile(r"\{([^{}]*)\}")


class Reader:
    """Reads sections. `origins` maps dotted keys to where they were set; `used` collects files of references."""

    def __init__(self, env: Mapping[str, str], source: str, origins: Mapping[str, str]) -> None:
        self._env = env
        self._source = source
        self._origins = origins
        self.used: set[Path] = set()

    def section(self, name: str, kind: type[Section], values: Tree) -> Section:
        """Raises `ConfigError` that names file or variable, section and key, and what would be right."""
        self._refuse_unknown(name, kind, values)
        expanded = self._expanded(name, kind, values)
        try:
            section: Section = _convert(expanded, kind)
        except msgspec.ValidationError as exc:
            raise self._wrong(name, kind, expanded, exc) from exc
        self._check(name, section)
        return section

    def _fail(self, name: str, sentence: str, cause: str = "") -> ConfigError:
        """`name` is the dotted key; `cause` another one whose origin is to blame."""
        section, _, last = name.rpartition(".")
        return ConfigError(f"{self._origin(cause or name)}: [{section}] {last}: {sentence}")

    def _origin(self, name: str) -> str:
        while name:
            if name in self._origins:
                return self._origins[name]
            inside = [origin for key, origin in self._origins.items() if key.startswith(f"{name}.")]
            if inside:
                return inside[0]
            name = name.rpartition(".")[0]
        return self._source

    def _refuse_unknown(self, name: str, kind: type[Section], values: Tree) -> None:
        if not kind.__struct_config__.forbid_unknown_fields:
            return  # of a plugin that is not loaded
        known = keys.hints(kind)
        for key, value in values.items():
            if key not in known:
                raise ConfigError(
                    f"{self._origin(f'{name}.{key}')}: [{name}] unknown key {key!r}{nearest(key, known)}"
                )
            for inner, hint, item in _inner(f"{name}.{key}", known[key], value):
                self._refuse_unknown(inner, hint, item)

    def _expanded(self, name: str, kind: type[Section], values: Tree) -> Tree:
        """The values with every reference replaced, defaults of expandable keys included."""
        done = dict(values)
        for key in keys.of(name, kind):
            short = key.field.name
            if short in done:
                done[short] = self._value(key.name, key.hint, done[short], expands=key.expands)
            elif key.expands and isinstance(key.default, str):
                done[short] = self._reference(key.name, key.default)
        return done

    def _value(self, name: str, hint: Any, value: Any, *, expands: bool) -> Any:
        kinds = keys.members(hint)
        if isinstance(value, str) and Secret in kinds:
            return self._secret(name, value)
        if isinstance(value, str) and expands:
            return self._reference(name, value)
        return self._inside(name, kinds, value, expands=expands)

    def _inside(self, name: str, kinds: tuple[Any, ...], value: Any, *, expands: bool) -> Any:
        for kind in kinds:
            if keys.is_section(kind) and isinstance(value, dict):
                return self._expanded(name, kind, value)
            inner = keys.element(kind)
            if inner is not None and isinstance(value, dict):
                return {k: self._value(f"{name}.{k}", inner, v, expands=expands) for k, v in value.items()}
            if inner is not None and isinstance(value, list):
                return [self._value(name, inner, item, expands=expands) for item in value]
        return value

    def _secret(self, name: str, value: str) -> str:
        """A secret is a reference or stands for itself: `$` inside it is only a dollar sign."""
        return self._reference(name, value) if value.startswith(("env:", "file:")) else value

    def _reference(self, name: str, value: str) -> str:
        try:
            return expand(value, self._env, self.used)
        except ExpansionError as exc:
            raise self._fail(name, str(exc)) from exc

    def _check(self, name: str, section: Section) -> None:
        for key in keys.of(name, type(section)):
            value = getattr(section, key.field.name)
            for inner_name, inner in _sections(key.name, value):
                self._check(inner_name, inner)
            if isinstance(value, Section):
                continue
            self._refuse_unbuilt(key, value)
            if isinstance(value, str) and value:
                self._check_text(key, value)
        try:
            section.check()
        except ValueError as exc:
            key_name, _, sentence = str(exc).partition(": ")
            raise self._fail(f"{name}.{key_name}", sentence) from exc

    def _refuse_unbuilt(self, key: keys.Key, value: Any) -> None:
        if key.needs and value not in (key.default, _expanded_default(key.default, self._env)):
            raise self._fail(
                key.name,
                f"this version has no support for {key.needs} yet; "
                f"remove the key or leave its default ({view.shown(view.plain(key.default))})",
            )

    def _check_text(self, key: keys.Key, value: str) -> None:
        allowed = key.mark("placeholders") or ()
        for found in BRACES.findall(value) if key.mark("path") else ():
            if found not in allowed:
                known = ", ".join(f"{{{name}}}" for name in allowed) or "none here"
                raise self._fail(key.name, f"unknown placeholder {{{found}}}; known: {known}")
        place = key.mark("path")
        if place in ("file", "socket") and os.path.isdir(value):  # noqa: PTH112 (a text, and cheap)
            raise self._fail(key.name, f"{value} is a folder; a {place} is meant")
        if place == "folder" and os.path.isfile(value):  # noqa: PTH113
            raise self._fail(key.name, f"{value} is a file; a folder is meant")

    def _wrong(
        self, name: str, kind: type[Section], values: Tree, exc: msgspec.ValidationError
    ) -> ConfigError:
        steps, wanted = words.place(kind, values, exc, _convert)
        message = str(exc).partition(" - at `$")[0]
        return self._fail(f"{name}.{steps}", words.sentence(message, keys.choices(wanted)))


def _inner(name: str, hint: Any, value: Any) -> typing.Iterator[tuple[str, type[Section], Tree]]:
    """The tables inside a value that are sections: the value itself, or items of a list or table."""
    for kind in keys.members(hint):
        if keys.is_section(kind) and isinstance(value, dict):
            yield name, kind, value
        item_kind = keys.element(kind)
        if not keys.is_section(item_kind):
            continue
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        yield from ((f"{name}.{key}", item_kind, item) for key, item in items if isinstance(item, dict))


def _sections(name: str, value: Any) -> typing.Iterator[tuple[str, Section]]:
    """The sections in a value: itself, or the items of a list or table."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else ()
    if isinstance(value, Section):
        yield name, value
    yield from ((f"{name}.{key}", item) for key, item in items if isinstance(item, Section))


def _convert(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind, dec_hook=_decode)


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the place


def _expanded_default(default: Any, env: Mapping[str, str]) -> Any:
    try:
        return expand(default, env) if isinstance(default, str) else default
    except ExpansionError:
        return default
