"""The proxy: an ASGI app that lets a call through when its key, its limits and its money allow."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .exchange import Exchange, answer

if TYPE_CHECKING:
    from .exchange import Receive, Send
    from .keys import Keys
    from .ledger import Ledger
    from .providers import Registry
    from .upstream import Pool


@dataclass(frozen=True)
class Limits:
    """What the proxy grants: bytes of a body, output tokens set aside per call, calls without a price."""

    max_body: int = 64 * 2**20
    hold_output: int = 8_192
    allow_unpriced: bool = False


class Proxy:
    """The ASGI app over one ledger."""

    def __init__(self, *, ledger: Ledger, keys: Keys, registry: Registry, pool: Pool, limits: Limits) -> None:
        self.ledger, self.keys, self.registry, self.pool, self.limits = ledger, keys, registry, pool, limits
        self.is_closing = False
        self.exchanges: set[asyncio.Task[Any]] = set()
        self._ids = (f"req_{secrets.token_hex(5)}{number:x}" for number in itertools.count(1))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "this proxy speaks plain HTTP"})
            return
        if scope["path"] == "/health":
            await answer(send, 200, [(b"content-type", b"application/json")], b'{"status":"ok"}')
            return
        task = asyncio.current_task()
        assert task is not None
        self.exchanges.add(task)
        try:
            await Exchange(self, scope, receive, send, next(self._ids), task).serve()
        finally:
            self.exchanges.discard(task)

    async def close(self) -> None:
        """Refuse new calls, end the open ones and bill them."""
        self.is_closing = True
        for task in list(self.exchanges):
            task.cancel()
        if self.exchanges:
            await asyncio.wait(self.exchanges, timeout=1.0)
        await self.ledger.drain()
        self.pool.close()
