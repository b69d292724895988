"""Layers to one effective policy: a base, and restrictions that meet it key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from oqto_platform.errors import ConfigError
from oqto_plugin_sandbox.policy.document import Statements
from oqto_plugin_sandbox.policy.profiles import BUILT_IN, built_in
from oqto_plugin_sandbox.policy.schema import KEYS, Flat, flatten

DEFAULT = "development"
ADDED = ("deny_read", "deny_write", "env.deny", "network.deny_domains")
"""Lists of a base file that add to those of its profile; all others replace."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """The statements of one file, with its name for messages."""

    file: str
    statements: Statements


def meet(left: Flat, right: Flat) -> Flat:
    """What both sides allow. A key that one side does not state is neutral."""
    met = dict(left)
    for name, value in right.items():
        met[name] = _meet_key(name, left[name], value) if name in left else value
    return met


def _meet_key(name: str, left: object, right: object) -> object:
    if name == "profiles":
        return tuple(sorted({*left, *right}))  # type: ignore[misc]
    return KEYS[name].meet(left, right)


def merge(bases: Sequence[Layer], restrictions: Sequence[Layer], home: str) -> Flat:
    """
    The effective policy. Without a base file the built-in development profile is the base.

    Raises `ConfigError` for an unknown profile.
    """
    profiles = {name: found for layer in bases for name, found in layer.statements.profiles.items()}
    starts = [_base(layer, profiles, home) for layer in bases] or [flatten(built_in(DEFAULT, home))]
    effective = starts[0]
    for other in starts[1:]:
        effective = meet(effective, other)
    for layer in restrictions:
        known = {**layer.statements.profiles, **profiles}
        if layer.statements.profile:
            effective = meet(effective, _restricting(_profile(layer, layer.statements.profile, known, home)))
        effective = meet(effective, _restricting(layer.statements.values))
    return _tidy(effective)


def _base(layer: Layer, profiles: Mapping[str, Statements], home: str) -> Flat:
    start = _profile(layer, layer.statements.profile or DEFAULT, profiles, home)
    return _override(start, layer.statements.values)


def _profile(
    layer: Layer, name: str, known: Mapping[str, Statements], home: str, seen: tuple[str, ...] = ()
) -> Flat:
    if name in BUILT_IN:
        return flatten(built_in(name, home))
    if name not in known:
        names = ", ".join(sorted({*BUILT_IN, *known}))
        raise ConfigError(
            f"{layer.file}: profile: there is no profile {name!r}; there are {names}", key="profile"
        )
    if name in seen:
        raise ConfigError(
            f"{layer.file}: profiles.{name}: inherits from itself", key=f"profiles.{name}.inherits"
        )
    start = _profile(layer, known[name].inherits, known, home, (*seen, name))
    return _override(start, {**known[name].values, "profiles": (name,)})


def _override(start: Flat, stated: Flat) -> Flat:
    values = dict(start)
    for name, value in stated.items():
        values[name] = tuple(sorted({*values[name], *value})) if name in ADDED else value
    return values


def _restricting(stated: Flat) -> Flat:
    """Without lists of names where the mode does not use them: an open side has nothing to narrow with."""
    if stated.get("network.mode") == "open":
        return {name: value for name, value in stated.items() if name != "network.allow_domains"}
    return stated


def _tidy(flat: Flat) -> Flat:
    """Deterministic lists, whatever the order of the layers."""
    return {name: tuple(sorted(set(v))) if isinstance(v, tuple) else v for name, v in flat.items()}
