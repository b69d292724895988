"""How hooks did, in the form that travels between processes and adds up."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class HookCount(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a plugin's hook did since its process started, or in several processes together.

    `off`: in how many of them it kept failing and is not called for a while. `skipped`: calls left out meanwhile.
    """

    hook: str
    plugin: str
    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    longest_block_s: float = 0.0
    last_failure: str = ""
    skipped: int = 0
    off: int = 0


def together(counts: Iterable[HookCount]) -> list[HookCount]:
    """One count per hook and plugin, in their order."""
    found: dict[tuple[str, str], HookCount] = {}
    for count in counts:
        known = found.get(key := (count.plugin, count.hook))
        found[key] = _sum(known, count) if known else count
    return [count for _, count in sorted(found.items())]


def _sum(one: HookCount, other: HookCount) -> HookCount:
    return HookCount(
        hook=one.hook,
        plugin=one.plugin,
        calls=one.calls + other.calls,
        failures=one.failures + other.failures,
        seconds=one.seconds + other.seconds,
        longest_block_s=max(one.longest_block_s, other.longest_block_s),
        last_failure=other.last_failure or one.last_failure,
        skipped=one.skipped + other.skipped,
        off=one.off + other.off,
    )
