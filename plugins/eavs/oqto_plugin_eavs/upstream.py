"""
The way to a provider: an HTTP/1.1 client pool on httptools, made for relaying streams.

What a proxy needs and general clients lack: bodies arrive as the peer's chunks, reading stops while the
reader is behind, giving up closes the connection at once (which is what ends a generation), and a kept
connection that the peer closed meanwhile costs one silent retry instead of an error.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict

from .connection import Connection
from .dial import dial
from .reply import Headers, Reader, Reply, Sending, Timeouts, UpstreamFailed
from .url import Url

__all__ = ["Headers", "Pool", "Reader", "Reply", "Timeouts", "UpstreamFailed", "Url"]

IDLE_LIMIT = 512


class Pool:
    """Connections to every provider; the ones just used are used again first."""

    def __init__(self, *, ca_file: str = "", timeouts: Timeouts | None = None) -> None:
        self._ca_file = ca_file
        self._ssl: ssl.SSLContext | None = None
        self.timeouts = timeouts or Timeouts()
        self._idle: dict[tuple[str, str, int], list[Connection]] = defaultdict(list)
        self._origins: dict[Connection, tuple[str, str, int]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def request(
        self,
        method: str,
        url: Url,
        headers: Headers,
        body: bytes | Sending,
        timeouts: Timeouts | None = None,
    ) -> Connection:
        """
        Send a request; answers when the head of the reply is there. The caller closes the reply.

        `timeouts` are those of the pool when there are none.

        Raises `UpstreamFailed`, or what a body in pieces raises. A cancelled caller leaves nothing behind.
        """
        timeouts = timeouts or self.timeouts
        if not isinstance(body, bytes):
            return await self._upload(method, url, headers, body, timeouts)
        head = head_of(method, url, headers, len(body))
        while (kept := self.kept(url)) is not None:
            try:
                await kept.exchange(head, body, timeouts)
            except UpstreamFailed:
                if not kept.may_be_stale:
                    raise
            else:
                return kept
        fresh = await self._connect(url, timeouts.connect_s)
        await fresh.exchange(head, body, timeouts)
        return fresh

    async def _upload(
        self, method: str, url: Url, headers: Headers, body: Sending, timeouts: Timeouts
    ) -> Connection:
        # What goes by in pieces cannot be sent again, so no kept connection may turn out to be stale.
        fresh = await self._connect(url, timeouts.connect_s)
        await fresh.upload(head_of(method, url, headers, body.length), body, timeouts)
        return fresh

    def kept(self, url: Url) -> Connection | None:
        """A connection from before, if there is one; it may turn out to be stale."""
        idle = self._idle[url.origin]
        while idle:
            connection = idle.pop()
            if (transport := connection.transport) is not None and not transport.is_closing():
                return connection
        return None

    async def _connect(self, url: Url, within_s: float) -> Connection:
        try:
            async with asyncio.timeout(within_s):
                connection = await dial(
                    url.origin, lambda: Connection(self._put, self._drop), self.context(url)
                )
        except TimeoutError as exc:
            text = f"no connection to {url.host}:{url.port} within {within_s:g} s"
            raise UpstreamFailed(text, was_sent=False, is_timeout=True) from exc
        except OSError as exc:
            raise UpstreamFailed(f"cannot connect to {url.host}:{url.port}: {exc}", was_sent=False) from exc
        self._origins[connection] = url.origin
        if self._sweeper is None:
            self._sweep()
        return connection

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._origins):
            connection.sweep(now)
        self._sweeper = loop.call_later(self.timeouts.sweep_s, self._sweep) if self._origins else None

    def context(self, url: Url) -> ssl.SSLContext | None:
        """How certificates are checked; `None` for a connection without TLS."""
        if url.scheme != "https":
            return None
        if self._ssl is None:
            self._ssl = ssl.create_default_context(cafile=self._ca_file or None)
        return self._ssl

    def _put(self, connection: Connection) -> None:
        idle = self._idle[self._origins[connection]]
        idle.append(connection)
        if len(idle) > IDLE_LIMIT:
            idle.pop(0).abort()

    def _drop(self, connection: Connection) -> None:
        origin = self._origins.pop(connection, None)
        if origin is not None and connection in (idle := self._idle[origin]):
            idle.remove(connection)

    def close(self) -> None:
        """Cut every kept connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for idle in self._idle.values():
            for connection in list(idle):
                connection.abort()
            idle.clear()


def head_of(method: str, url: Url, headers: Headers, length: int | None) -> bytes:
    """How a request begins."""
    lines = [method.encode(), url.first_lines]
    if length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif method != "GET":
        lines.append(b"content-length: %d\r\n" % length)
    lines += [b"%b: %b\r\n" % pair for pair in headers]
    lines.append(b"\r\n")
    return b"".join(lines)
