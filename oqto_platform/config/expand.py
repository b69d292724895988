"""`~`, `$VAR`, `${VAR}`, `env:NAME` and `file:PATH`: one meaning wherever a value is expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_XDG = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}


class ExpansionError(ValueError):
    """A variable or file that the value names is not there; the message names it."""


def expand(text: str, env: Mapping[str, str], used: set[Path] | None = None) -> str:
    """
    Replace what `text` refers to. Raises `ExpansionError` with the name that is missing.

    `used` collects the files that were read.
    """
    if text.startswith("env:"):
        return _variable(text[4:], env, "env:")
    if text.startswith("file:"):
        return _file(expand(text[5:], env), used)
    replaced = _VARIABLE.sub(lambda match: _variable(match[1] or match[2], env, "$"), text)
    if replaced == "~" or replaced.startswith("~/"):
        return _home(env) + replaced[1:]
    return replaced


def xdg(name: str, env: Mapping[str, str]) -> Path:
    """An XDG base directory with its standard fallback; relative values are ignored, as the standard asks."""
    value = env.get(name, "")
    return Path(value) if value.startswith("/") else Path(_home(env)) / _XDG[name]


def _variable(name: str, env: Mapping[str, str], mark: str) -> str:
    if value := env.get(name):
        return value
    if name in _XDG:
        return str(xdg(name, env))
    raise ExpansionError(f"the environment variable {name} is not set ({mark}{name})")


def fill(text: str, **values: object) -> str:
    """Put values where `text` has their names in braces: `{user_id}`, `{user}`, `{uid}`. Others stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _file(path: str, used: set[Path] | None) -> str:
    if used is not None:
        used.add(Path(path))
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise ExpansionError(f"cannot read file:{path}: {reason}") from exc


def _home(env: Mapping[str, str]) -> str:
    return env.get("HOME") or str(Path.home())
