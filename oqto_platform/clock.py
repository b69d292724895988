"""The one place that reads the clock, so that tests can turn it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

now: Callable[[], float] = time.time
"""Seconds since the epoch, UTC."""


def now_ms() -> int:
    """Milliseconds since the epoch: the unit of every `ts` on the wire."""
    return time.time_ns() // 1_000_000


monotonic: Callable[[], float] = time.monotonic
"""Seconds that only ever grow; for durations and time-outs. Both are read several times for each event, so without a step between."""


async def sleep(delay_s: float) -> None:
    """`asyncio.sleep`, replaceable."""
    await asyncio.sleep(delay_s)
