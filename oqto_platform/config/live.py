"""The snapshot that holds now, and how a changed file becomes the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from oqto_platform.config import keys
from oqto_platform.errors import ConfigError
from oqto_platform.settings import Section, Settings

Load = Callable[[int], Settings]
"""Reads the configuration anew; its argument is the generation to give. Raises `ConfigError`."""


@dataclass(frozen=True)
class Change:
    """What a reload did: the snapshots before and after, and the keys that differ."""

    old: Settings
    new: Settings
    keys: tuple[str, ...]


class Live:
    """
    `current` is replaced by one assignment; take it once per operation and pass values on.

    Keys that are marked restart keep the value that this process started with; `pending` names those that
    wait. `error` is why the files as they are now were not taken; empty when they were.
    """

    def __init__(self, settings: Settings, load: Load | None = None) -> None:
        self.current = settings
        self.wanted = settings
        self.error = ""
        self.error_at = 0.0
        self.loaded_at = time.time()
        self._load = load or (lambda _generation: settings)

    @property
    def pending(self) -> tuple[str, ...]:
        """The keys whose new value waits for the next start."""
        return differing(self.current, self.wanted)

    def reload(self) -> Change | None:
        """
        Read again. `None` when nothing that holds now changes; `ConfigError` when the files are wrong: then
        everything stays.
        """
        try:
            wanted = self._load(self.current.generation + 1)
        except ConfigError as exc:
            self.error_at = self.error_at if exc.detail == self.error else time.time()
            self.error = exc.detail
            raise
        self.error, self.error_at = "", 0.0
        old, self.wanted, self.loaded_at = self.current, wanted, time.time()
        sections = {name: held(old.any_section(name), wanted.any_section(name)) for name in wanted.names()}
        new = wanted.replaced(sections, old.generation + 1)
        changed = differing(old, new)
        self.current = new if changed else wanted.replaced(sections, old.generation)
        return Change(old, self.current, changed) if changed else None


def held(old: Section, new: Section) -> Section:
    """`new`, but with the values of `old` where a change waits for the next start."""
    kept = {}
    for key in keys.of("", type(new)):
        name = key.field.name
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(after, Section):
            kept[name] = held(before, after)
        elif key.restart and before != after:
            kept[name] = before
    return msgspec.structs.replace(new, **kept) if kept else new


def differing(one: Settings, other: Settings) -> tuple[str, ...]:
    """The dotted keys whose values differ, in the order of their declaration."""
    return tuple(
        name
        for section in one.names()
        for name in _differing(section, one.any_section(section), other.any_section(section))
    )


def _differing(name: str, one: Section, other: Section) -> list[str]:
    found = []
    for key in keys.of(name, type(one)):
        before, after = getattr(one, key.field.name), getattr(other, key.field.name)
        if isinstance(before, Section):
            found += _differing(key.name, before, after)
        elif before != after:
            found.append(key.name)
    return found
