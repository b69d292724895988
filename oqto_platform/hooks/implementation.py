"""One plugin's implementation of one hook: what it takes, how it did so far, whether it is switched off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from oqto_platform.hooks.counted import HookCount
from oqto_platform.hooks.failures import Origin

log = structlog.get_logger("oqto.plugins")

BLOCKING_S = 0.05
"""An implementation that holds the event loop for longer is named in the log."""

FAILURES_IN_A_ROW = 5
"""So many, and an implementation that is only told something is not called any more."""

REST_S = 600.0
"""Then it is tried again."""


@dataclass(frozen=True)
class PerPlugin:
    """An argument that differs by plugin, such as its context."""

    make: Callable[[str], Any]


@dataclass
class Tally:
    """
    How often a plugin's hook ran, how long, how often it failed; `skipped` counts calls left out while it was off.

    What a call writes; `HookCount` is what travels, a promise to other programs that what is counted here may outgrow.
    """

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    longest_block_s: float = 0.0
    last_failure: str = ""
    changed_arguments: int = 0
    failures_in_a_row: int = 0
    skipped: int = 0
    off_since: float | None = None

    @property
    def is_off(self) -> bool:
        """Whether the breaker keeps it from being called."""
        return self.off_since is not None


@dataclass(frozen=True)
class Impl:
    """`argnames` in the order of `function`'s own signature."""

    hook: str
    origin: Origin
    function: Callable[..., Any]
    argnames: tuple[str, ...]
    is_async: bool
    tally: Tally = field(default_factory=Tally)

    @property
    def plugin(self) -> str:
        return self.origin.name

    def values(self, arguments: Mapping[str, Any]) -> list[Any]:
        """The arguments that this implementation asked for."""
        return [
            value.make(self.plugin) if type(value := arguments[name]) is PerPlugin else value
            for name in self.argnames
        ]

    def note(self, seconds: float, failure: str = "") -> None:
        """Count one call."""
        tally = self.tally
        tally.calls += 1
        tally.seconds += seconds
        if failure:
            tally.failures += 1
            tally.failures_in_a_row += 1
            tally.last_failure = failure
        elif tally.failures_in_a_row:
            tally.failures_in_a_row = 0

    def note_block(self, seconds: float) -> None:
        """Keep the longest time so far that it held the event loop, and name it when that was too long."""
        self.tally.longest_block_s = seconds
        if seconds > BLOCKING_S:
            log.warning(
                "plugin blocks the event loop",
                plugin=self.plugin,
                version=self.origin.version,
                hook=self.hook,
                ms=round(seconds * 1e3),
                repair="do the work in asyncio.to_thread, or await it",
            )

    def counted(self) -> HookCount:
        """How it did so far."""
        tally = self.tally
        return HookCount(
            hook=self.hook,
            plugin=self.plugin,
            calls=tally.calls,
            failures=tally.failures,
            seconds=tally.seconds,
            longest_block_s=tally.longest_block_s,
            last_failure=tally.last_failure,
            skipped=tally.skipped,
            off=int(tally.is_off),
        )

    def is_resting(self) -> bool:
        """Whether this call is left out because the ones before failed in a row."""
        since = self.tally.off_since
        if since is None or time.monotonic() - since >= REST_S:
            return False
        self.tally.skipped += 1
        return True

    def trip(self) -> None:
        """Switch it off when it has failed too often in a row."""
        if self.tally.failures_in_a_row < FAILURES_IN_A_ROW:
            return
        self.tally.off_since = time.monotonic()
        log.error("plugin switched off for a hook", plugin=self.plugin, version=self.origin.version, hook=self.hook,
                  failures=self.tally.failures_in_a_row, last=self.tally.last_failure, again_in_s=REST_S,
                  repair=f"oqtoctl plugins reset {self.plugin}")  # fmt: skip

    def switch_on(self) -> bool:
        """Call it again from now on; whether it was off."""
        was_off = self.tally.is_off
        self.tally.off_since, self.tally.failures_in_a_row = None, 0
        if was_off:
            log.info("plugin switched on for a hook", plugin=self.plugin, hook=self.hook)
        return was_off
