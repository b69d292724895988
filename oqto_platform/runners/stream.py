"""The connection of a follower: one request, its reply, and then event lines for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from oqto_platform.wire import LIMIT

log = structlog.get_logger("oqto.runners")

Take = Callable[[list[bytes]], None]


class EventStream(asyncio.Protocol):
    """
    Hands whole lines to whoever `begin`s, in the turn in which they arrive.

    A reader task would cost an event two more turns of the loop. The peer waits while we are paused. It is its
    user's process, so a line without end ends the connection instead of filling our memory.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._reply: asyncio.Future[bytes] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._take: Take | None = None
        self._early: list[bytes] = []
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._pauses = 0
        self.transport: asyncio.Transport

    async def ask(self, line: bytes) -> bytes:
        """Send the request, return the line of the reply: empty when the peer closed before it."""
        self.transport.write(line + b"\n")
        return await self._reply

    def begin(self, take: Take) -> None:
        """Give every event line to `take`, from the first one on."""
        self._take = take
        if self._early:
            early, self._early = self._early, []
            take(early)
        self.resume()

    async def closed(self) -> None:
        """Returns when the peer has closed and all its whole lines were taken."""
        await self._closed

    def close(self) -> None:
        self.transport.close()

    def pause(self) -> None:
        self._pauses += 1
        if self._pauses == 1 and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        self._pauses -= 1
        if self._pauses == 0 and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            if self._rest:
                whole = b"".join([*self._rest, whole])
                self._rest, self._rest_bytes = [], 0
            lines = whole.split(b"\n")
            if self._take is not None:
                self._take(lines)
            else:
                self._keep_early(lines)
        if rest:
            self._keep(rest)

    def _keep(self, part: bytes) -> None:
        self._rest.append(part)
        self._rest_bytes += len(part)
        if self._rest_bytes > LIMIT:
            self._cut_off()

    def _cut_off(self) -> None:
        log.warning("a runner sends a line without end", limit_bytes=LIMIT)
        self._rest, self._rest_bytes = [], 0
        self.transport.abort()

    def _keep_early(self, lines: list[bytes]) -> None:
        if not self._reply.done():
            self._reply.set_result(lines.pop(0))
            self.pause()  # until somebody begins
        self._early += lines

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._reply.done():
            self._reply.set_result(b"")
        if not self._closed.done():
            self._closed.set_result(None)
