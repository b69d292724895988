"""
The door for agents: an HTTP/1.1 server on httptools, made for relaying.

General servers spend more on a call than the rest of the proxy does, mostly on hand-overs between threads
and tasks (ADR 0010). Here a request is a task on the loop that also owns the provider's connection; a client
that leaves cancels it at once, and one that reads slowly makes `write` wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import httptools
import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from .upstream import Headers

    Handler = Callable[["Request"], Awaitable[None]]

log = structlog.get_logger("oqto.eavs")

HEAD_LIMIT = 64 * 1024
HIGH_WATER = 256 * 1024
SWEEP_S = 5.0
IDLE_S = 300.0
HEAD_S = 30.0
BODY_S = 120.0
LINGER_S = 5.0
BACKLOG = 2048
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Request:
    """
    One request and the way back to its client.

    `headers` are lower-case, values of repeated ones joined by a comma. Once the head is sent, `has_begun`;
    once the client has gone, `has_left`, and the task that serves it is cancelled.
    """

    __slots__ = (
        "_body", "_connection", "_expects", "_is_chunked", "_is_read", "_size", "_waiter", "has_begun",
        "has_ended", "has_left", "headers", "keeps", "method", "path", "query", "task", "version",
    )  # fmt: skip

    def __init__(self, connection: Connection, method: str, target: bytes, version: str) -> None:
        path, _, self.query = target.partition(b"?")
        self.path = (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")
        self.method, self.version = method, version
        self.headers: dict[bytes, bytes] = {}
        self.task: asyncio.Task[None] | None = None
        self.has_begun = self.has_ended = self.has_left = False
        self.keeps = True
        self._connection = connection
        self._body: deque[bytes] = deque()
        self._size = 0
        self._is_read = self._expects = self._is_chunked = False
        self._waiter: asyncio.Future[None] | None = None

    # The body.

    async def chunk(self) -> bytes | None:
        """The next piece of the body, `None` at its end."""
        while not self._body:
            if self._is_read:
                return None
            await self._arrival()
        data = b"".join(self._body) if len(self._body) > 1 else self._body[0]
        self._body.clear()
        self._size = 0
        self._connection.resume()
        return data

    @property
    def is_read(self) -> bool:
        """Whether the whole body has arrived."""
        return self._is_read

    async def _arrival(self) -> None:
        if self._expects:
            self._expects = False
            self._connection.send(CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def feed(self, data: bytes) -> None:
        """A piece of the body has come."""
        self._body.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._connection.pause()
        self._wake()

    def complete(self) -> None:
        """The body is complete."""
        self._is_read = True
        self._wake()

    def expect(self) -> None:
        """The client waits to be asked for the body."""
        self._expects = True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def waits_for_body(self) -> bool:
        """Whether somebody wants a piece of the body that has not come."""
        return self._waiter is not None

    # The reply.

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head. Without a content-length the body goes in chunks."""
        self.has_begun = True
        has_length = any(name == b"content-length" for name, _ in headers)
        self._is_chunked = not has_length and self.version == "1.1"
        self.keeps = self.keeps and self._is_read and (has_length or self._is_chunked)
        self._connection.send(_head(status, headers, is_chunked=self._is_chunked, keeps=self.keeps))

    def put(self, data: bytes) -> None:
        """Send a piece of the body without waiting."""
        if self.method == "HEAD" or not data:
            return
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; waits while the client is far behind."""
        self.put(data)
        if self._connection.is_full:
            await self._connection.drained()

    def end(self) -> None:
        """The reply is complete."""
        self.has_ended = True
        if self._is_chunked and self.method != "HEAD":
            self._connection.send(b"0\r\n\r\n")

    def answer(self, status: int, headers: Headers, data: bytes) -> None:
        """Send a whole reply."""
        self.begin(status, [*headers, (b"content-length", b"%d" % len(data))])
        self.put(data)
        self.end()

    def leave(self) -> None:
        """The client has gone."""
        self.has_left = True
        if self.task is not None and not self.has_ended:
            self.task.cancel()


def _head(status: int, headers: Headers, *, is_chunked: bool, keeps: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))]
    lines += [b"%b: %b\r\n" % pair for pair in headers]
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n" if keeps else b"connection: close\r\n\r\n")
    return b"".join(lines)


class Connection(asyncio.Protocol):
    """One client. Its requests are served one after the other."""

    def __init__(self, handler: Handler, connections: set[Connection]) -> None:
        self._handler, self._connections = handler, connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._head: list[tuple[bytes, bytes]] = []
        self._head_size, self._in_head = 0, False
        self._reading: Request | None = None
        self._serving: Request | None = None
        self._waiting: deque[Request] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._is_paused = self._lingers = False
        self.is_full = False
        self._since = self._loop.time()

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=HIGH_WATER)  # type: ignore[union-attr]
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)
        self.resume_writing()
        for request in (self._serving, *self._waiting):
            if request is not None:
                request.leave()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._since = self._loop.time()
        if self._lingers:
            return
        self._head_size += len(data) if self._in_head else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED)
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        if self._in_head and self._head_size > HEAD_LIMIT:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._target, self._head, self._head_size, self._in_head = b"", [], 0, True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, target = self._parser, self._target
        if not target.startswith(b"/"):
            target = httptools.parse_url(target).path or b"/"
        request = Request(self, parser.get_method().decode(), target, parser.get_http_version())
        request.headers = _joined(self._head)
        request.keeps = parser.should_keep_alive()
        if request.headers.get(b"expect", b"").lower() == b"100-continue":
            request.expect()
        self._reading, self._in_head = request, False
        self._waiting.append(request)
        self._next()

    def on_body(self, data: bytes) -> None:
        if self._reading is not None:
            self._reading.feed(data)

    def on_message_complete(self) -> None:
        if self._reading is not None:
            self._reading.complete()
        self._reading = None

    # Serving.

    def _next(self) -> None:
        if self._serving is not None or not self._waiting:
            if len(self._waiting) > 1:
                self.pause()  # a client that asks ahead waits for its answers
            return
        self._serving = self._waiting.popleft()
        self._serving.task = self._loop.create_task(self._serve(self._serving))

    async def _serve(self, request: Request) -> None:
        try:
            await self._handler(request)
        except Exception:
            log.exception("a call failed", path=request.path)
            self._fail(request)
        finally:
            self._finish(request)

    def _fail(self, request: Request) -> None:
        if request.has_begun:
            self.abort()
        else:
            request.answer(500, [(b"content-type", b"text/plain")], b"The proxy failed; see its log.\n")

    def _finish(self, request: Request) -> None:
        self._serving = None
        self._since = self._loop.time()
        if not request.has_ended:
            self.abort()
        elif not request.keeps:
            self._end()
        else:
            if not self._waiting:
                self.resume()
            self._next()

    def _end(self) -> None:
        """Close once the reply is sent; what still comes is discarded, for a reset would destroy the reply."""
        if self._transport is None:
            return
        if self._reading is None:
            self._transport.close()
            return
        self._lingers = True
        self.resume()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _refuse(self, status: HTTPStatus) -> None:
        if self._serving is not None or self._waiting:
            self.abort()
        elif self._transport is not None:
            self.send(_head(status.value, [(b"content-length", b"0")], is_chunked=False, keeps=False))
            self._transport.close()

    # For the requests.

    def send(self, data: bytes) -> None:
        """Bytes for the client; forgotten when it has gone."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read on."""
        if self._drained is None or self._drained.done():
            self._drained = self._loop.create_future()
        await self._drained

    def pause(self) -> None:
        """Read no more for now."""
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Cut the connection when its client keeps it waiting for too long."""
        if self._serving is None:
            limit = LINGER_S if self._lingers else HEAD_S if self._in_head else IDLE_S
        elif self._serving.waits_for_body:
            limit = BODY_S
        else:
            return
        if now - self._since > limit:
            self.abort()


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers = dict(pairs)
    if len(headers) < len(pairs):
        headers.clear()
        for name, value in pairs:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


class Server:
    """The listeners of the proxy and their connections."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.AbstractServer] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> None:
        """Accept on a TCP address. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self._connection, host, port, backlog=BACKLOG))
        self._sweep()

    async def listen_unix(self, path: Path) -> None:
        """Accept on a Unix socket. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_unix_server(self._connection, path, backlog=BACKLOG))

    def _connection(self) -> Connection:
        return Connection(self._handler, self._connections)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._connections):
            connection.sweep(loop.time())
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.abort()
