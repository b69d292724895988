"""
Text to one validated snapshot. Order: defaults < file < its profile's file < `OQTO__SECTION__KEY` < flags.

Every error names where the value was set, the section, the key and what would be right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from oqto_platform.config import environment, files, keys
from oqto_platform.config.environment import PROFILE
from oqto_platform.config.files import Tree, locate, relocate, usual_places
from oqto_platform.config.keys import Kinds
from oqto_platform.config.nearest import nearest
from oqto_platform.config.sections import CORE
from oqto_platform.config.validate import Reader
from oqto_platform.config.words import kind_of
from oqto_platform.errors import ConfigError
from oqto_platform.settings import Section, Settings

__all__ = ["glimpse", "load", "locate", "peek", "relocate", "usual_places"]

TOP_LEVEL = {"$schema", "profile"}
DEFAULTS = "built-in defaults"

S = TypeVar("S", bound=Section)


def load(
    path: Path | None,
    env: Mapping[str, str] = os.environ,
    *,
    kinds: Kinds = CORE,
    overrides: Mapping[str, Any] = {},
    generation: int = 1,
    text: str | None = None,
    owner: int | None = None,
) -> Settings:
    """
    The snapshot of `path` (defaults only when `None`). `overrides` maps `"section.key"` to flag values.

    `text` stands for what is in `path`. `owner` is the uid whose file it must be (or root's); `None` asks
    nothing. Raises `ConfigError`.
    """
    _check_log_variable(env)
    layers = files.read(path, profile=env.get(PROFILE, ""), text=text) if path else []
    for place, tree in layers:
        _refuse_unknown_sections(tree, kinds, str(place))
        if owner is not None and place.exists():
            files.refuse_other_hands(place, owner)
    tree, origins = _merged(layers, env, kinds, overrides)
    reader = Reader(env, str(path or DEFAULTS), origins)
    sections = {name: reader.section(name, kind, tree.get(name, {})) for name, kind in kinds.items()}
    return Settings(
        sections,
        generation=generation,
        digest=hashlib.sha256(repr(sorted(tree.items(), key=str)).encode()).hexdigest(),
        source=str(path or DEFAULTS),
        origins=origins,
        files=(*(place for place, _ in layers), *sorted(reader.used)),
    )


def peek(path: Path | None, env: Mapping[str, str], name: str, kind: type[S]) -> S:
    """One section alone, before the others are known: which plugins to load stands in `[plugins]`."""
    layers = files.read(path, profile=env.get(PROFILE, "")) if path else []
    alone = [(place, {name: tree.get(name, {})}) for place, tree in layers]
    begin = f"{environment.PREFIX}{name.upper()}__"
    ours = {variable: text for variable, text in env.items() if variable.upper().startswith(begin)}
    tree, origins = _merged(alone, ours, {name: kind}, {})
    section = Reader(env, str(path or DEFAULTS), origins).section(name, kind, tree.get(name, {}))
    assert isinstance(section, kind)
    return section


def glimpse(path: Path | None, env: Mapping[str, str], name: str, kind: type[S]) -> S:
    """
    `peek` for whoever must go on although the file is wrong: then what is right of the section, by itself.

    A server that refused the file still runs, and is asked what is wrong with it.
    """
    with contextlib.suppress(ConfigError):
        return peek(path, env, name, kind)
    found = peek(None, env, name, kind)
    variables = {variable.upper() for variable in env}
    for key, value in _readable(path).get(name, {}).items():
        if f"{environment.PREFIX}{name}__{key}".upper() in variables:
            continue
        with contextlib.suppress(ConfigError):
            found = _with(found, name, kind, key, value, env)
    return found


def _readable(path: Path | None) -> Tree:
    try:
        return files.parse(path, files.read_text(path)) if path else {}
    except ConfigError:
        return {}


def _check_log_variable(env: Mapping[str, str]) -> None:
    if env.get("OQTO_LOG"):
        from oqto_platform import logs  # its library is not for whoever only wants a key

        logs.check_variable(env)


def _with(found: S, name: str, kind: type[S], key: str, value: Any, env: Mapping[str, str]) -> S:
    one = Reader(env, "", {}).section(name, kind, {key: value})
    return msgspec.structs.replace(found, **{key: getattr(one, key)})


def _merged(
    layers: list[tuple[Path, Tree]], env: Mapping[str, str], kinds: Kinds, overrides: Mapping[str, Any]
) -> tuple[Tree, dict[str, str]]:
    """All values as one tree, and where each came from."""
    whole: Tree = {}
    origins: dict[str, str] = {}
    for place, tree in layers:
        _lay_over(whole, {n: v for n, v in tree.items() if n not in TOP_LEVEL}, origins, str(place))
    for variable, steps, value in environment.variables(env, kinds):
        environment.put(whole, steps, value, variable)
        origins[".".join(steps)] = environment.origin(variable, env)
    for dotted, value in overrides.items():
        environment.put(whole, dotted.split("."), value, dotted)
        origins[dotted] = environment.COMMAND_LINE
    return whole, origins


def _lay_over(base: Tree, top: Tree, origins: dict[str, str], origin: str, prefix: str = "") -> None:
    for name, value in top.items():
        if isinstance(value, dict):
            if not isinstance(base.get(name), dict):
                base[name] = {}
            _lay_over(base[name], value, origins, origin, f"{prefix}{name}.")
        else:
            base[name] = value
            origins[f"{prefix}{name}"] = origin


def _refuse_unknown_sections(tree: Tree, kinds: Kinds, source: str) -> None:
    for name, value in tree.items():
        if name in TOP_LEVEL:
            continue
        if name not in kinds and not isinstance(value, dict):
            raise ConfigError(f"{source}: {name!r} stands before the first section{_homes(name, kinds)}")
        if name not in kinds:
            raise ConfigError(
                f"{source}: unknown section [{name}]{nearest(name, kinds)} (is its plugin installed?)"
            )
        if not isinstance(value, dict):
            raise ConfigError(f"{source}: [{name}] is a section, so it cannot be {kind_of(value)}")


def _homes(name: str, kinds: Kinds) -> str:
    homes = [f"[{section}]" for section, kind in kinds.items() if name in keys.hints(kind)]
    return f"; it belongs into {' or '.join(homes)}" if homes else "; put it into one, or remove it"
