"""One file of policy: TOML text to checked statements. Every complaint names file, line, key and repair."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, TypeAlias

import msgspec

from oqto_platform.errors import ConfigError
from oqto_plugin_sandbox.policy import domains, paths
from oqto_plugin_sandbox.policy.profiles import BUILT_IN
from oqto_plugin_sandbox.policy.schema import KEYS, TABLES, UNAVAILABLE, Flat, Key

Role: TypeAlias = Literal["base", "user", "workspace"]
MAX_BYTES = 64 * 1024
_GLOB = re.compile(r"[A-Za-z0-9_*?]+")
_WHO: Mapping[str, tuple[Role, ...]] = {
    "base": ("base",),
    "user": ("base", "user"),
    "all": ("base", "user", "workspace"),
}


class Statements(msgspec.Struct, frozen=True, kw_only=True):
    """What a file states: flat keys, the profile it names, and profiles of its own."""

    profile: str = ""
    values: Flat = {}
    profiles: Mapping[str, Statements] = {}
    inherits: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a text comes from and how its paths are read."""

    file: str
    role: Role
    home: str
    workspace: str = ""


def parse(text: str, place: Place) -> Statements:
    """Check one file. Raises `ConfigError`."""
    if len(text.encode(errors="surrogateescape")) > MAX_BYTES:
        raise ConfigError(f"{place.file}: larger than {MAX_BYTES // 1024} KiB")
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f"{place.file}: not valid TOML: {exc}") from exc
    return _Reader(text, place).read(raw)


class _Reader:
    def __init__(self, text: str, place: Place) -> None:
        self._text = text
        self._place = place

    def read(self, raw: dict[str, Any]) -> Statements:
        raw.pop("$schema", None)
        own = raw.pop("profiles", {})
        if not isinstance(own, dict):
            self._complain("profiles", "has to be tables such as [profiles.ours]")
        top = self._statements(raw, "")
        return msgspec.structs.replace(
            top, profiles={name: self._profile(name, raw) for name, raw in own.items()}
        )

    def _profile(self, name: str, raw: Any) -> Statements:
        key = f"profiles.{name}"
        if name in BUILT_IN:
            self._complain(key, f"{name!r} is built in and cannot be changed; choose another name")
        if not isinstance(raw, dict):
            self._complain(key, "has to be a table")
        inherits = raw.pop("inherits", "strict")
        if not isinstance(inherits, str):
            self._complain(f"{key}.inherits", "has to be the name of a profile")
        return msgspec.structs.replace(self._statements(raw, f"{key}."), inherits=inherits)

    def _statements(self, raw: dict[str, Any], prefix: str) -> Statements:
        profile = raw.pop("profile", "")
        if not isinstance(profile, str) or (profile and prefix):
            self._complain(prefix + "profile", "has to be the name of a profile, at the top of the file")
        values: Flat = {}
        for name, value in self._flat(raw, prefix).items():
            values[name] = self._value(prefix, name, value)
        return Statements(profile=profile, values=self._network(prefix, values))

    def _flat(self, raw: dict[str, Any], prefix: str) -> Flat:
        flat: Flat = {}
        for name, value in raw.items():
            if name in UNAVAILABLE:
                self._complain(prefix + name, UNAVAILABLE[name])
            if name not in TABLES:
                flat[name] = value
            elif isinstance(value, dict):
                flat |= {f"{name}.{inner}": value[inner] for inner in value}
            else:
                self._complain(prefix + name, f"has to be a table [{prefix}{name}]")
        return flat

    def _value(self, prefix: str, name: str, value: Any) -> Any:
        if name in UNAVAILABLE:
            self._complain(prefix + name, UNAVAILABLE[name])
        key = KEYS.get(name)
        if key is None:
            self._complain(prefix + name, f"unknown key{self._nearest(name)}")
        self._check_role(prefix + name, key, value)
        checked = _CHECKS[key.kind]
        try:
            return checked(self, name, key, value)
        except ValueError as exc:
            self._complain(prefix + name, str(exc))

    def _check_role(self, name: str, key: Key, value: Any) -> None:
        if self._place.role in _WHO[key.who] or value is False:
            return
        file = "the system's sandbox.toml" if self._place.role == "user" else "your own sandbox.toml"
        self._complain(name, f"would add rights, and this file can only restrict; it belongs into {file}")

    @staticmethod
    def _nearest(name: str) -> str:
        known = [*KEYS, *TABLES, "profile", "profiles"]
        found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        return f"; did you mean {found[0]!r}?" if found else ""

    def _network(self, prefix: str, values: Flat) -> Flat:
        """`isolate_network` is the older word for a mode; lists need the mode that can hold them."""
        isolated = values.pop("isolate_network", None)
        if isolated:
            values["network.mode"] = "isolated"
        elif isolated is False and self._place.role == "base":
            values.setdefault("network.mode", "open")
        for name in ("network.allow_domains", "network.deny_domains"):
            if name in values and values.get("network.mode", "proxy" if prefix else "") not in (
                "proxy",
                "isolated",
            ):
                self._complain(
                    prefix + name, 'only mode = "proxy" looks at names; state it in the same table'
                )
        return values

    def _complain(self, key: str, why: str) -> NoReturn:
        line = line_of(self._text, key)
        where = f"{self._place.file}:{line}" if line else self._place.file
        raise ConfigError(f"{where}: {key}: {why}", file=self._place.file, key=key, line=line)

    # -- one check per kind of key; each raises ValueError ---------------------------------------

    def _bool(self, name: str, key: Key, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("has to be true or false")  # noqa: TRY004 - one error type for all checks
        return value

    def _count(self, name: str, key: Key, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**40:
            raise ValueError("has to be a whole number above 0")
        return value

    def _choice(self, name: str, key: Key, value: Any) -> str:
        if not isinstance(value, str) or value not in key.choices:
            raise ValueError("has to be one of " + ", ".join(repr(choice) for choice in key.choices))
        return value

    def _list(self, name: str, key: Key, value: Any) -> tuple[str, ...]:
        single = name == "seccomp_bpf_path" and isinstance(value, str)
        values = [value] if single else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise ValueError("has to be a list of texts")
        return tuple(sorted({self._item(key, item) for item in values}))

    def _item(self, key: Key, item: str) -> str:
        try:
            return _ITEMS[key.kind](self, item)
        except ValueError as exc:
            raise ValueError(f"{item!r}: {exc}") from exc

    def _path(self, item: str) -> str:
        return paths.not_root(paths.absolute(item, self._place.home))

    def _pattern(self, item: str) -> str:
        workspace = self._place.workspace if self._place.role == "workspace" else ""
        return paths.absolute(item, self._place.home, relative_to=workspace, may_be_glob=True)

    def _domain(self, item: str) -> str:
        return domains.normal_pattern(item)

    def _name(self, item: str) -> str:
        if not _GLOB.fullmatch(item):
            raise ValueError("has to be the name of a variable, perhaps with *")
        return item


_CHECKS: Mapping[str, Callable[[_Reader, str, Key, Any], Any]] = {
    "bool": _Reader._bool,  # noqa: SLF001 - a table of the class above
    "count": _Reader._count,  # noqa: SLF001
    "choice": _Reader._choice,  # noqa: SLF001
    **dict.fromkeys(("paths", "patterns", "domains", "names"), _Reader._list),  # noqa: SLF001
}
_ITEMS: Mapping[str, Callable[[_Reader, str], str]] = {
    "paths": _Reader._path,  # noqa: SLF001
    "patterns": _Reader._pattern,  # noqa: SLF001
    "domains": _Reader._domain,  # noqa: SLF001
    "names": _Reader._name,  # noqa: SLF001
}


def line_of(text: str, key: str) -> int:
    """The line that states `key`, written flat (`network.mode`); 0 when it is not found."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            table = header[1].replace('"', "").replace(" ", "") + "."
            if table == key + ".":
                return number
        elif (stated := re.match(r"""\s*["']?([\w$.-]+)["']?\s*=""", line)) and (
            table + stated[1] == key or key.startswith(table + stated[1] + ".")
        ):
            return number
    return 0
