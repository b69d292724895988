"""
A browser's WebSocket that costs as little as possible, so that the server is measured and not the client.

Arriving bytes are kept with the time of their arrival and looked at after the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


class Browser(asyncio.Protocol):
    """One connection to `/api/ws/mux`. `chunks`: (monotonic ns, bytes), whole since the last `forget`."""

    def __init__(self) -> None:
        self.chunks: list[tuple[int, bytes]] = []
        self._news = asyncio.Event()
        self._ids = 0
        self._tail = b""
        self._awaited = b""
        self._missing = 0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.chunks.append((time.monotonic_ns(), data))
        if self._awaited:
            seen = self._tail + data
            self._tail = seen[-len(self._awaited) + 1 :]
            self._missing -= seen.count(self._awaited)
            if self._missing <= 0:
                self._awaited = b""
                self._news.set()

    def wait_for(self, what: bytes, times: int = 1) -> asyncio.Event:
        """Set as soon as `what` has arrived so many `times` after this call."""
        self._awaited, self._missing, self._tail, self._news = what, times, b"", asyncio.Event()
        return self._news

    async def until(self, arrived: asyncio.Event) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await arrived.wait()

    async def ask(self, session_id: str, cmd: str, **fields: Any) -> None:
        """Send a command and wait for its reply."""
        self._ids += 1
        replied = self.wait_for(b'"id":"%d"' % self._ids)
        self.send(self._ids, session_id, cmd, **fields)
        await self.until(replied)

    def send(self, number: int, session_id: str, cmd: str, **fields: Any) -> None:
        frame = {"channel": "agent", "id": str(number), "session_id": session_id, "cmd": cmd, **fields}
        data = json.dumps(frame).encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
        head = (
            bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else b"\x81\xfe" + len(data).to_bytes(2, "big")
        )
        self._transport.write(head + mask + masked)

    def close(self) -> None:
        self._transport.abort()


async def connect(url: str, cookie: str) -> Browser:
    """A signed-in browser."""
    where = urlsplit(url)
    _, browser = await asyncio.get_running_loop().create_connection(Browser, where.hostname, where.port)
    connected = browser.wait_for(b'"connected"')
    request = (
        f"GET /api/ws/mux HTTP/1.1\r\nhost: {where.netloc}\r\norigin: {url}\r\ncookie: {cookie}\r\n"
        "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    browser._transport.write(request.encode())
    await browser.until(connected)
    return browser
