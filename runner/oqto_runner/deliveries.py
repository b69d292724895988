"""A person's message has one effect, however often it is sent: the last ids of a session are remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

REMEMBERED = 512


class Deliveries:
    """Answers a repeated `client_id` without a second effect; one that failed may be tried again."""

    def __init__(self, known: Iterable[str]) -> None:
        self._done: OrderedDict[str, None] = OrderedDict.fromkeys(known)
        self._running: dict[str, asyncio.Future[Any]] = {}

    async def once(self, client_id: str, deliver: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `deliver`, or of the delivery of the same id that came first."""
        if not client_id:
            return await deliver()
        if client_id in self._done:
            return None
        if (first := self._running.get(client_id)) is not None:
            return await asyncio.shield(first)
        return await self._deliver(client_id, deliver)

    async def _deliver(self, client_id: str, deliver: Callable[[], Awaitable[Any]]) -> Any:
        running = self._running[client_id] = asyncio.ensure_future(deliver())
        running.add_done_callback(lambda done: self._settle(client_id, done))
        return await asyncio.shield(running)

    def _settle(self, client_id: str, done: asyncio.Future[Any]) -> None:
        self._running.pop(client_id, None)
        if not done.cancelled() and done.exception() is None:
            self._done[client_id] = None
            while len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
