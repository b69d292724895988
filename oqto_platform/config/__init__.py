"""
Text to one validated snapshot. Order: defaults < file < `OQTO__SECTION__KEY` < flags (as overrides).

Every error names the file, the section, the key and what would be right.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from oqto_platform.config.expand import ExpansionError, expand, xdg
from oqto_platform.config.sections import CORE
from oqto_platform.errors import ConfigError
from oqto_platform.settings import Secret, Section, Settings

PREFIX = "OQTO__"
TOP_LEVEL = {"$schema", "profile"}

S = TypeVar("S", bound=Section)
Kinds = Mapping[str, type[Section]]
Tree = dict[str, Any]


def locate(env: Mapping[str, str], explicit: str = "") -> Path | None:
    """
    The file to read: flag, `OQTO_CONFIG`, the XDG folder, `/etc/oqto`, `/etc/octo`; `None` when there is none.

    A file that was named but does not exist is an error; a folder stands for its `config.toml`.
    """
    for source, name in (("--config", explicit), ("OQTO_CONFIG", env.get("OQTO_CONFIG", ""))):
        if name:
            path = Path(_expanded_name(source, name, env))
            path = path / "config.toml" if path.is_dir() else path
            if not path.is_file():
                raise ConfigError(f"{source} names {path}, which is not a file")
            return path
    places = (xdg("XDG_CONFIG_HOME", env) / "oqto", Path("/etc/oqto"), Path("/etc/octo"))
    return next((place / "config.toml" for place in places if (place / "config.toml").is_file()), None)


def _expanded_name(source: str, name: str, env: Mapping[str, str]) -> str:
    try:
        return expand(name, env)
    except ExpansionError as exc:
        raise ConfigError(f"{source} names {name}: {exc}") from exc


def load(
    path: Path | None,
    env: Mapping[str, str] = os.environ,
    *,
    kinds: Kinds = CORE,
    overrides: Mapping[str, Any] = {},
    generation: int = 1,
) -> Settings:
    """
    The snapshot of `path` (defaults only when `None`). `overrides` maps `"section.key"` to flag values.

    Raises `ConfigError`.
    """
    source = str(path) if path else "built-in defaults"
    tree = _read(path, env) if path else {}
    _refuse_unknown_sections(tree, kinds, source)
    variables = _merge_environment(tree, env, kinds)
    for dotted, value in overrides.items():
        _put(tree, dotted.split("."), value, dotted)
    sections = {
        name: _section(name, kind, tree.get(name, {}), env, " with ".join([source, *variables.get(name, [])]))
        for name, kind in kinds.items()
    }
    digest = hashlib.sha256(repr(sorted(tree.items(), key=str)).encode()).hexdigest()
    return Settings(sections, generation=generation, digest=digest, source=source)


def peek(path: Path | None, env: Mapping[str, str], name: str, kind: type[S]) -> S:
    """One section alone, before the others are known: which plugins to load stands in `[plugins]`."""
    tree = {name: (_read(path, env) if path else {}).get(name, {})}
    variables = _merge_environment(
        tree,
        {v: t for v, t in env.items() if v.upper().startswith(f"{PREFIX}{name.upper()}__")},
        {name: kind},
    )
    source = " with ".join([str(path or "built-in defaults"), *variables.get(name, [])])
    section = _section(name, kind, tree[name], env, source)
    assert isinstance(section, kind)
    return section


def _read(path: Path, env: Mapping[str, str]) -> Tree:
    tree = _parse(path)
    profile = tree.get("profile", "default")
    if not isinstance(profile, str):
        raise ConfigError(f"{path}: profile: expected a text, got {type(profile).__name__}")
    if "/" in profile:
        raise ConfigError(f"{path}: profile: {profile!r} is part of a file name, so it holds no '/'")
    overlay = path.with_name(f"{path.stem}.{profile}.toml")
    if profile != "default" and overlay.is_file():
        _overlay(tree, _parse(overlay))
    return {name: value for name, value in tree.items() if name not in TOP_LEVEL}


def _parse(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from exc


def _overlay(base: Tree, top: Tree) -> None:
    for name, value in top.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            _overlay(base[name], value)
        else:
            base[name] = value


def _refuse_unknown_sections(tree: Tree, kinds: Kinds, source: str) -> None:
    for name, value in tree.items():
        if name not in kinds:
            raise ConfigError(
                f"{source}: unknown section [{name}]{_nearest(name, kinds)} (is its plugin installed?)"
            )
        if not isinstance(value, dict):
            raise ConfigError(f"{source}: [{name}] must be a table, not {type(value).__name__}")


def _merge_environment(tree: Tree, env: Mapping[str, str], kinds: Kinds) -> dict[str, list[str]]:
    """Put the variables into `tree`; the names of those that were used, by section, for error messages."""
    used: dict[str, list[str]] = {}
    for variable, text in env.items():
        if not variable.upper().startswith(PREFIX):
            continue
        steps = [step.lower() for step in variable[len(PREFIX) :].split("__")]
        if len(steps) < 2 or not all(steps):  # noqa: PLR2004 (a section and a key)
            raise ConfigError(f"{variable}: names no key; the form is {PREFIX}SECTION__KEY")
        if steps[0] not in kinds:
            raise ConfigError(f"{variable}: no section [{steps[0]}]{_nearest(steps[0], kinds)}")
        _put(tree, steps, _value(text, kinds[steps[0]], steps[1:]), variable)
        used.setdefault(steps[0], []).append(variable)
    return used


def _value(text: str, kind: type[Section], steps: list[str]) -> Any:
    hint: Any = kind
    for step in steps:
        hint = _hints(hint).get(step, str) if _is_section(hint) else str
    if str in _members(hint) or Secret in _members(hint) or _is_literal(hint):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: Tree, steps: list[str], value: Any, name: str) -> None:
    *parents, last = steps
    for step in parents:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{name}: {step} is a value, not a table")
    tree[last] = value


def _section(name: str, kind: type[Section], values: Tree, env: Mapping[str, str], source: str) -> Section:
    where = f"{source}: [{name}]"
    _refuse_unknown_keys(kind, values, where)
    try:
        section = msgspec.convert(_expanded(kind, values, env, where), kind, dec_hook=_decode)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{where} {_explain(kind, exc)}") from exc
    _refuse_unbuilt(section, env, where)
    return section


def _refuse_unknown_keys(kind: type[Section], values: Tree, where: str) -> None:
    hints = _hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(f"{where} unknown key {name!r}{_nearest(name, hints)}")
        if _is_section(hints[name]) and isinstance(value, dict):
            _refuse_unknown_keys(hints[name], value, where[:-1] + f".{name}]")


def _expanded(kind: type[Section], values: Tree, env: Mapping[str, str], where: str) -> Tree:
    """The values with every reference replaced, defaults of expandable keys included."""
    done = dict(values)
    for field, extra in _fields(kind):
        value = done.get(field.name, field.default if extra.get("expand") else None)
        is_secret = Secret in _members(_hints(kind)[field.name])
        if isinstance(value, str) and (extra.get("expand") or is_secret):
            try:
                done[field.name] = _reference(value, env) if is_secret else expand(value, env)
            except ExpansionError as exc:
                raise ConfigError(f"{where} {field.name}: {exc}") from exc
    return done


def _reference(secret: str, env: Mapping[str, str]) -> str:
    """A secret is a reference or stands for itself: `$` inside it is only a dollar sign."""
    return expand(secret, env) if secret.startswith(("env:", "file:")) else secret


def _refuse_unbuilt(section: Section, env: Mapping[str, str], where: str) -> None:
    for field, extra in _fields(type(section)):
        value = getattr(section, field.name)
        if isinstance(value, Section):
            _refuse_unbuilt(value, env, where[:-1] + f".{field.name}]")
        elif extra.get("needs") and value not in (field.default, _expanded_default(field.default, env)):
            raise ConfigError(
                f"{where} {field.name}: this version has no support for {extra['needs']} yet; "
                f"remove the key or leave its default ({field.default!r})"
            )


def _expanded_default(default: Any, env: Mapping[str, str]) -> Any:
    try:
        return expand(default, env) if isinstance(default, str) else default
    except ExpansionError:
        return default


@functools.cache
def _fields(kind: type[Section]) -> tuple[tuple[msgspec.structs.FieldInfo, Mapping[str, Any]], ...]:
    """Each field with what its `key(…)` says."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple((field, _marks(hints[field.name])) for field in msgspec.structs.fields(kind))


def _marks(hint: Any) -> Mapping[str, Any]:
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return metas[0].extra or {} if metas else {}


@functools.cache
def _hints(kind: type[Section]) -> dict[str, Any]:
    return {name: _bare(hint) for name, hint in typing.get_type_hints(kind).items()}


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a type: `int | None` → `(int, NoneType)`."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def _is_literal(hint: Any) -> bool:
    return any(typing.get_origin(member) is typing.Literal for member in _members(hint))


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the place


def _explain(kind: type[Section], exc: msgspec.ValidationError) -> str:
    message, _, place = str(exc).partition(" - at `$.")
    name = place.rstrip("`")
    hint = _hints(kind).get(name.split(".")[0].split("[")[0])
    allowed = [
        repr(v) for m in _members(hint) if typing.get_origin(m) is typing.Literal for v in typing.get_args(m)
    ]
    options = f" (allowed: {', '.join(allowed)})" if allowed else ""
    return f"{name}: {message[:1].lower()}{message[1:]}{options}"


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"
