"""
Every key of `sandbox.toml`: its type, who may state it, and how two statements of it meet.

A policy is flat here: `network.mode` to value. Meeting is per key and never wider than either side.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from oqto_plugin_sandbox.policy import domains, paths
from oqto_plugin_sandbox.policy.model import Environment, Home, Limits, Mode, Network, NetworkMode, Policy

Flat: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["bool", "count", "choice", "name", "paths", "patterns", "domains", "names"]
Who: TypeAlias = Literal["base", "user", "all"]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One key. `who`: `base` files alone, or also a `user` file below a system file, or `all` layers."""

    kind: Kind
    meet: Callable[[Any, Any], Any]
    who: Who = "all"
    choices: tuple[str, ...] = ()
    unavailable: str = ""


def _either(a: bool, b: bool) -> bool:  # noqa: FBT001 - values of keys
    return a or b


def _both(a: bool, b: bool) -> bool:  # noqa: FBT001
    return a and b


def _union(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*a, *b}))


def _lower(a: int | None, b: int | None) -> int | None:
    return min((value for value in (a, b) if value is not None), default=None)


def _narrowed(narrow: Callable[[Any, Any], tuple[str, ...]]) -> Callable[[Any, Any], Any]:
    """For lists where `None` allows everything."""

    def meet(a: tuple[str, ...] | None, b: tuple[str, ...] | None) -> tuple[str, ...] | None:
        one = b if a is None else a
        return None if one is None else narrow(one, one if a is None or b is None else b)

    return meet


def _stricter(choices: tuple[str, ...]) -> Callable[[str, str], str]:
    def meet(a: str, b: str) -> str:
        return max(a, b, key=choices.index)

    return meet


def _common_names(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(a) & set(b)))


def _choice(*choices: str, unavailable: str = "") -> Key:
    return Key(kind="choice", meet=_stricter(choices), choices=choices, unavailable=unavailable)


def _count(unavailable: str = "") -> Key:
    return Key(kind="count", meet=_lower, unavailable=unavailable)


def _more(who: Who = "all") -> Key:
    """A switch that restricts when it is on."""
    return Key(kind="bool", meet=_either, who=who)


def _less(who: Who = "base") -> Key:
    """A switch that widens when it is on."""
    return Key(kind="bool", meet=_both, who=who)


_deny = Key(kind="patterns", meet=_union)
_allow = Key(kind="paths", meet=_narrowed(paths.common))
_extra = Key(kind="paths", meet=_narrowed(paths.common), who="user")
_absent = "this version does not enforce it; remove the key"

KEYS: dict[str, Key] = {
    "enabled": _more(),
    "home": _choice("rw", "ro", "private"),
    "deny_read": _deny,
    "deny_write": _deny,
    "allow_read": _allow,
    "allow_write": _allow,
    "extra_ro_bind": _extra,
    "extra_rw_bind": _extra,
    "isolate_network": _more(),
    "isolate_pid": _more(),
    "drop_all_caps": _more(),
    "disable_userns": _more(),
    "assert_userns_disabled": _more(),
    "no_new_privs": _more(),
    "readonly_workspace": _more(),
    "seccomp_mode": _choice("off", "audit", "enforce"),
    "landlock_mode": _choice("off", "audit", "enforce"),
    "seccomp_bpf_path": Key(kind="paths", meet=_union, who="base"),
    "deny_unix": _more(),
    "protect_defaults": _more(),
    "require_fixed_bwrap": _more(),
    "allow_ptrace": _less(),
    "allow_git_config": _less(),
    "allow_home_workspace": _less(),
    "network.mode": _choice("open", "proxy", "isolated"),
    "network.allow_domains": Key(kind="domains", meet=_narrowed(domains.common)),
    "network.deny_domains": Key(kind="domains", meet=_union),
    "network.log_requests": _more(),
    "unix_sockets.allow": Key(kind="paths", meet=_narrowed(paths.common), who="user"),
    "env.pass": Key(kind="names", meet=_common_names, who="base"),
    "env.deny": Key(kind="names", meet=_union),
    **{f"limits.{name}": _count() for name in Limits.__struct_fields__},
}  # fmt: skip

UNAVAILABLE = {
    **dict.fromkeys(("scoped_paths", "overlay_enabled", "overlay_root", "overlay_paths", "guard", "prompts", "ssh"), _absent),
    "network.proxy_tcp_port": "every session has a proxy of its own, without a port; remove the key",
    "network.proxy_dns_port": "names are resolved outside the sandbox; remove the key",
    "deny_read_replace": "the built-in list of secrets cannot be replaced; remove the key",
}  # fmt: skip
TABLES = ("network", "unix_sockets", "env", "limits")

assert get_args(Home) == KEYS["home"].choices
assert get_args(Mode) == KEYS["seccomp_mode"].choices
assert get_args(NetworkMode) == KEYS["network.mode"].choices

_RENAMED = {"unix_sockets": "unix_sockets.allow", "seccomp_filters": "seccomp_bpf_path"}
_NESTED: Mapping[str, tuple[type[msgspec.Struct], dict[str, str]]] = types.MappingProxyType(
    {
        "network": (Network, {}),
        "limits": (Limits, {}),
        "env": (Environment, {"passed": "pass", "denied": "deny"}),
    }
)
_NOT_MERGED = {"layers", "sources", "profiles"}


def flatten(policy: Policy) -> Flat:
    """Every key of the policy, flat."""
    flat: Flat = {"profiles": policy.profiles}
    for name in policy.__struct_fields__:
        value = getattr(policy, name)
        if name in _NESTED:
            renamed = _NESTED[name][1]
            flat |= {f"{name}.{renamed.get(f, f)}": getattr(value, f) for f in value.__struct_fields__}
        elif name not in _NOT_MERGED:
            flat[_RENAMED.get(name, name)] = value
    return {key: tuple(sorted(value)) if isinstance(value, tuple) else value for key, value in flat.items()}


def to_policy(flat: Flat, layers: tuple[str, ...] = ()) -> Policy:
    """The inverse of `flatten`."""
    values: dict[str, Any] = {"profiles": flat["profiles"], "layers": layers}
    for name in Policy.__struct_fields__:
        if name in _NESTED:
            kind, renamed = _NESTED[name]
            fields = {f: flat[f"{name}.{renamed.get(f, f)}"] for f in kind.__struct_fields__}
            values[name] = kind(**fields)
        elif name not in _NOT_MERGED:
            values[name] = flat[_RENAMED.get(name, name)]
    return Policy(**values)
