"""Sentences about plugins that fail: which one, of which version, in which hook, and what repairs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, requires, version
from typing import Any

from oqto_platform.errors import PluginFailed, PluginLoadError
from oqto_platform.logs import clean

PLATFORM = "oqto-platform"
BUILTIN = "builtin"
"""The name under which the core and the runner answer hooks themselves."""

LONGEST_REASON = 2_000


@dataclass(frozen=True)
class Origin:
    """Where a plugin came from. `distribution` is empty for what is built in."""

    name: str
    distribution: str = ""
    version: str = ""

    @classmethod
    def of(cls, entry: EntryPoint) -> Origin:
        if entry.dist is None:
            return cls(entry.name)
        # Read once: each of `.name` and `.version` parses the whole file again.
        metadata = entry.dist.metadata
        return cls(entry.name, metadata["Name"], metadata["Version"])

    def __str__(self) -> str:
        if self.name == BUILTIN:
            return "Oqto itself"
        where = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"plugin {self.name!r}{where}"


class HookError(PluginFailed):
    """A plugin failed while a hook that may not fail was being called."""

    def __init__(self, hook: str, origin: Origin, reason: str) -> None:
        super().__init__(
            f"{origin} failed in {hook}: {reason}. {_way_out(origin)}",
            hook=hook,
            plugin=origin.name,
        )


def _way_out(origin: Origin) -> str:
    if origin.name == BUILTIN:
        return "Try again; if it stays so, the log says more"
    return f"See the log, or: oqtoctl plugins disable {origin.name}"


def reason(exc: BaseException, arguments: Mapping[str, Any]) -> str:
    """What went wrong, without the secrets that the plugin was told and without end."""
    if isinstance(exc, TimeoutError) and not str(exc):
        return "took too long"
    text = str(clean("", f"{type(exc).__name__}: {exc}"))
    for value in arguments.values():
        if isinstance(secret := getattr(value, "password", None), str) and secret:
            text = text.replace(secret, "***")
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def load_error(origin: Origin, text: str) -> PluginLoadError:
    """A plugin that cannot be loaded, with what it asks for when that is not what is here."""
    text = text.rstrip(".")
    return PluginLoadError(
        f"{origin}: {text}.{_unmet(origin)} To start without it: oqtoctl plugins disable {origin.name}",
        plugin=origin.name,
    )


def _unmet(origin: Origin) -> str:
    """Whether it was made for another version of the platform: the likeliest cause, looked up when it is too late."""
    try:
        wanted = [line for line in requires(origin.distribution) or [] if _project(line) == PLATFORM]
        have = version(PLATFORM)
    except (PackageNotFoundError, ValueError):
        return ""
    if not wanted or _is_met(wanted[0], have):
        return ""
    return f" It asks for {wanted[0]} and this is {have}: upgrade {PLATFORM}, or install an older {origin.distribution}."


def _project(requirement: str) -> str:
    end = next((n for n, sign in enumerate(requirement) if sign in " <>=!~;[("), len(requirement))
    return requirement[:end].replace("_", "-").lower()


def _is_met(requirement: str, have: str) -> bool:
    from packaging.requirements import Requirement

    return Requirement(requirement).specifier.contains(have, prereleases=True)


def is_the_plugins(exc: BaseException) -> bool:
    """
    Whether it is the plugin that failed.

    `sys.exit()` in a plugin is its failure and not our end, and so is a cancellation that nobody asked this
    task for: the plugin awaited something of its own that was cancelled.
    """
    if isinstance(exc, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(exc, Exception | SystemExit)
