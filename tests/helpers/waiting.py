"""Wait for what comes about by itself: how long that takes is the machine's affair, within a bound."""

from __future__ import annotations

import asyncio
import time

PATIENCE_S = 60.0


def until(holds, what="it", *, timeout_s=PATIENCE_S, seen=lambda: ""):
    """Ask until `holds()` is true; its answer. `seen()` is told when it never was."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s\n{seen()}"
        time.sleep(0.02)
    return found


async def async_until(holds, what="it", *, timeout_s=PATIENCE_S):
    """`until` in a test whose event loop has to run meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        await asyncio.sleep(0.02)
    return found
