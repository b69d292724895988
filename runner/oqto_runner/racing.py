"""Wait for one of several things."""

from __future__ import annotations

import asyncio
from typing import Any


async def first(*waits: Any) -> None:
    """Return when the first of `waits` has ended; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
