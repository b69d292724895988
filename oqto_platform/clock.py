"""The one place that reads the clock, so that tests can turn it."""

from __future__ import annotations

import asyncio
import time


def now() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def now_ms() -> int:
    """Milliseconds since the epoch: the unit of every `ts` on the wire."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that only ever grow; for durations and time-outs."""
    return time.monotonic()


async def sleep(delay_s: float) -> None:
    """`asyncio.sleep`, replaceable."""
    await asyncio.sleep(delay_s)
