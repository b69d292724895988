"""The proxy: lets a call through when its key, its limits and its money allow."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .admission import Choices
from .body import Bodies
from .exchange import JSON, Exchange

if TYPE_CHECKING:
    from .admission import Till
    from .providers import Registry
    from .server import Request
    from .upstream import Pool
    from .wallets import Ends
    from .worker import FarTill


@dataclass(frozen=True)
class Limits:
    """What the proxy grants: bytes of a body, output tokens set aside per call, calls without a price."""

    max_body: int = 64 * 2**20
    hold_output: int = 8_192
    allow_unpriced: bool = False


class Proxy:
    """What answers every request over one ledger."""

    def __init__(self, *, till: Till | FarTill, registry: Registry, pool: Pool, limits: Limits) -> None:
        self.till: Any = till
        self.registry, self.pool, self.limits = registry, pool, limits
        self.bodies, self.choices = Bodies(), Choices()
        self.is_closing = False
        self.exchanges: set[asyncio.Task[Any]] = set()
        self.rides: set[Ends] = set()
        """The calls that no task serves."""
        self.new_id = map(f"req_{secrets.token_hex(5)}{{:x}}".format, itertools.count(1)).__next__
        """Answers the name of a new call."""

    async def handle(self, request: Request) -> None:
        """Answer one request."""
        if request.path == "/health":
            request.answer(200, JSON, b'{"status":"ok"}')
            return
        task = asyncio.current_task()
        assert task is not None
        self.exchanges.add(task)
        try:
            await Exchange(self, request, self.new_id()).serve()
        finally:
            self.exchanges.discard(task)

    async def close(self) -> None:
        """Refuse new calls, end the open ones and bill them."""
        self.is_closing = True
        for call in (*self.exchanges, *self.rides):
            call.cancel()
        if self.exchanges:
            await asyncio.wait(self.exchanges, timeout=1.0)
        await self.till.drain()
        self.pool.close()
