"""The runner's part of `config.toml`: `[runner]` and the sections of the plugins loaded here.

Every other section is the core's and is left unread. The order is: defaults, file, `OQTO__SECTION__KEY`.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from oqto_platform.errors import ConfigError
from oqto_platform.settings import Secret, Section, Settings, key

ENV_PREFIX = "OQTO__"


class RunnerSection(Section):
    """`[runner]`"""

    runner_id: Annotated[
        str, key("Name of this runner in events and lists; empty: the host's name.", restart=True)
    ] = ""
    pi_sessions_dir: Annotated[
        str, key("Shared session files of pi.", needs="session files outside of a session")
    ] = ""
    memories_dir: Annotated[str, key("Where memories are kept.", needs="memories")] = ""


def default_path() -> Path | None:
    """`$OQTO_CONFIG`, else `config.toml` in the user's configuration folder if there is one."""
    if named := os.environ.get("OQTO_CONFIG"):
        return Path(named)
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = base / "oqto" / "config.toml"
    return path if path.exists() else None


def load(path: Path | None, kinds: Mapping[str, type[Section]]) -> Settings:
    """The snapshot of all `kinds` by section name. Raises `ConfigError` that names file, section and key."""
    text = _read(path)
    try:
        tables: dict[str, Any] = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    source = str(path or "defaults")
    sections = {name: _section(source, name, kind, tables.get(name, {})) for name, kind in kinds.items()}
    return Settings(sections, generation=1, digest=hashlib.sha256(text).hexdigest(), source=source)


def _read(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc


def _section(source: str, name: str, kind: type[Section], table: Any) -> Section:
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: [{name}] is not a section")
    hints = get_type_hints(kind, include_extras=True)
    values = {**table, **_overrides(name)}
    values = {field: _expanded(value, hints.get(field)) for field, value in values.items()}
    try:
        section = msgspec.convert(values, kind, dec_hook=_decode)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{source}: [{name}] {exc}") from exc
    _check_needs(source, name, section, hints)
    return section


def _overrides(section: str) -> dict[str, Any]:
    prefix = f"{ENV_PREFIX}{section.upper()}__"
    found = {k.removeprefix(prefix).lower(): v for k, v in os.environ.items() if k.startswith(prefix)}
    return {field: _toml_value(text) for field, text in found.items()}


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _expanded(value: Any, hint: Any) -> Any:
    if not isinstance(value, str) or not _expands(hint):
        return value
    if value.startswith("env:"):
        return os.environ.get(value[4:], "")
    if value.startswith("file:"):
        return _read(Path(value[5:]).expanduser()).decode().strip()
    return os.path.expandvars(Path(value).expanduser()) if not _is_secret(hint) else value


def _expands(hint: Any) -> bool:
    return _is_secret(hint) or any((meta.extra or {}).get("expand") for meta in _metas(hint))


def _is_secret(hint: Any) -> bool:
    return hint is Secret or any(
        _is_secret(part) for part in get_args(hint) if not isinstance(part, msgspec.Meta)
    )


def _metas(hint: Any) -> list[msgspec.Meta]:
    is_annotated = get_origin(hint) is Annotated
    return [part for part in get_args(hint) if isinstance(part, msgspec.Meta)] if is_annotated else []


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(f"a value of {kind.__name__} cannot be written in TOML")


def _check_needs(source: str, name: str, section: Section, hints: Mapping[str, Any]) -> None:
    default = type(section)()
    for field, hint in hints.items():
        needs = next((n for meta in _metas(hint) if (n := (meta.extra or {}).get("needs"))), "")
        if needs and getattr(section, field) != getattr(default, field):
            raise ConfigError(
                f"{source}: [{name}] {field} needs {needs}, which this version lacks; remove the key"
            )
