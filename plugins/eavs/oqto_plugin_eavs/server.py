"""
The door for agents: an HTTP/1.1 server on httptools, made for relaying.

General servers spend more on a call than the rest of the proxy does, mostly on hand-overs between threads
and tasks (ADR 0010). Here a request is served on the loop that also owns the provider's connection, by a task or, where
`quick` takes it, without one; a client that leaves cancels it at once, and one that reads slowly makes `write` wait.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools
import structlog

from . import refusals, routing
from .head import Head, Heads
from .request import HIGH_WATER, Request, head_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[Request], Awaitable[None]]
    Quick = Callable[[Request], bool]

__all__ = ["Request", "Server"]

log = structlog.get_logger("oqto.eavs")

HEAD_LIMIT = 64 * 1024
SWEEP_S = 5.0
IDLE_S = 300.0
HEAD_S = 30.0
BODY_S = 120.0
LINGER_S = 5.0
BACKLOG = 2048


class Connection(asyncio.Protocol):
    """One client. Its requests are served one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.send: Callable[[bytes], None] = _forget
        """Takes bytes for the client, and forgets them when it has gone."""
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._head: list[tuple[bytes, bytes]] = []
        self._head_size, self._in_head = 0, False
        self._is_between = True
        """Whether no part of a request has come since the last one ended."""
        self._reading: Request | None = None
        self._serving: Request | None = None
        self._waiting: deque[Request] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._tunnel: Callable[[bytes], None] | None = None
        self._early: bytes | None = None
        self._is_paused = self._lingers = False
        self.is_full = False
        self._since = self._loop.time()

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = way = cast("asyncio.Transport", transport)
        way.set_write_buffer_limits(high=HIGH_WATER)
        self.send = way.write
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self.send = None, _forget
        self._server.connections.discard(self)
        self.resume_writing()
        for request in (self._serving, *self._waiting):
            if request is not None:
                request.leave()

    def pause_writing(self) -> None:
        self.is_full = True
        self._tell_full()

    def resume_writing(self) -> None:
        self.is_full = False
        self._tell_full()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _tell_full(self) -> None:
        if self._serving is not None and self._serving.on_full is not None:
            self._serving.on_full(self.is_full)

    def data_received(self, data: bytes) -> None:
        self._since = self._loop.time()
        if self._lingers:
            return
        if self._early is not None:
            self._pass_on(data)
            return
        if self._is_between and (known := self._server.heads.find(data)) is not None:
            self._waiting.append(Request(self, *known))
            self._next()
            return
        self._head_size += len(data) if self._in_head else 0
        was_between = self._is_between
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        if self._in_head and self._head_size > HEAD_LIMIT:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if was_between and self._is_between and len(self._waiting) == 1:
            self._server.heads.learn(data, self._waiting[-1].head)
        self._next()

    def _pass_on(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel(data)
            return
        self._early = (self._early or b"") + data
        if len(self._early) > HIGH_WATER:
            self.pause()

    def _upgrade(self, rest: bytes) -> None:
        newest = self._waiting[-1] if self._waiting else self._serving
        if newest is not None and newest.is_websocket:
            self._early, newest.keeps = rest, False
            return
        self._parser = httptools.HttpRequestParser(self)  # another protocol is no offer that we must take
        if rest:
            self.data_received(rest)

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._target, self._head, self._head_size, self._in_head = b"", [], 0, True
        self._is_between = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, target = self._parser, self._target
        if not target.startswith(b"/"):
            target = httptools.parse_url(target).path or b"/"
        method, version, keeps = (
            parser.get_method().decode(),
            parser.get_http_version(),
            parser.should_keep_alive(),
        )
        request = Request(self, Head(method, target, version, _joined(self._head), keeps=keeps))
        if request.headers.get(b"expect", b"").lower() == b"100-continue":
            request.expect()
        self._reading, self._in_head = request, False
        self._waiting.append(request)

    def on_body(self, data: bytes) -> None:
        if self._reading is not None:
            self._reading.feed(data)

    def on_message_complete(self) -> None:
        if self._reading is not None:
            self._reading.complete()
        self._reading, self._is_between = None, True

    # Serving.

    def _next(self) -> None:
        if self._serving is not None or not self._waiting:
            if len(self._waiting) > 1:
                self.pause()  # a client that asks ahead waits for its answers
            return
        request = self._serving = self._waiting.popleft()
        if not request.is_read or self._server.quick is None or not self._server.quick(request):
            request.serve(self._server.handler(request))

    def serve(self, request: Request, work: Awaitable[None]) -> asyncio.Task[None]:
        """Have a task serve the request to its end."""
        return self._loop.create_task(self._serve(request, work))

    async def _serve(self, request: Request, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # whatever it is, the client gets an answer and the log the cause
            log.exception("a call failed", path=request.path)
            self._fail(request)
        finally:
            self.finish(request)

    def _fail(self, request: Request) -> None:
        if request.has_begun:
            self.abort()
        else:
            request.answer(500, [(b"content-type", b"text/plain")], b"The proxy failed; see its log.\n")

    def finish(self, request: Request) -> None:
        """The request is served: on with the next one, or with none."""
        self._serving = None
        self._since = self._loop.time()
        if not request.has_ended:
            self.abort()
        elif not request.keeps:
            self._end()
        elif self._waiting:
            self._next()
        elif self._is_paused:
            self.resume()

    def _end(self) -> None:
        """Close once the reply is sent; what still comes is discarded, for a reset would destroy the reply."""
        if self._transport is None:
            return
        if self._reading is None and self._tunnel is None:
            self._transport.close()
            return
        self._linger(self._transport)

    def _linger(self, transport: asyncio.Transport) -> None:
        self._lingers = True
        self.resume()
        if transport.can_write_eof():
            transport.write_eof()

    def _refuse(self, status: HTTPStatus) -> None:
        if self._serving is not None or self._waiting:
            self.abort()
        elif self._transport is not None:
            self.send(turned_down(self._target, status))
            self._linger(self._transport)

    # For the requests.

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

    def tunnel(self, sink: Callable[[bytes], None]) -> None:
        """Hand what comes to `sink`, unread."""
        self._tunnel = sink
        self.resume()
        if self._early:
            sink(self._early)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Cut the connection when its client keeps it waiting for too long."""
        if self._is_paused and _has_hung_up(self._transport):
            self.abort()  # the loop notices nobody who leaves while it does not read
            return
        if self._serving is None:
            limit = LINGER_S if self._lingers else HEAD_S if self._in_head else IDLE_S
        elif self._serving.waits_for_body:
            limit = BODY_S
        else:
            return
        if now - self._since > limit:
            self.abort()


UNREADABLE = {
    HTTPStatus.BAD_REQUEST: "This is no request that HTTP allows.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"The head of the request is larger than {HEAD_LIMIT // 1024} KiB.",
}


def turned_down(target: bytes, status: HTTPStatus) -> bytes:
    """The reply to what is no request, in the dialect of its path as far as that was read."""
    refused = refusals.Refused(status.value, "unreadable_request", UNREADABLE[status])
    data = refusals.encode(routing.dialect_of(target.decode("latin-1")), refused, "")
    length = (b"content-length", b"%d" % len(data))
    return head_of(status.value, [*refusals.headers(refused, ""), length], keeps=False) + data


def _forget(_: bytes) -> None:
    """There is nobody left to send to."""


def _has_hung_up(transport: asyncio.Transport | None) -> bool:
    poll = select.poll()
    if transport is not None:
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers = dict(pairs)
    if len(headers) < len(pairs):
        headers.clear()
        for name, value in pairs:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


class Server:
    """The listeners of the proxy and their connections."""

    def __init__(self, handler: Handler, quick: Quick | None = None) -> None:
        """`quick` is asked before `handler`: whether it serves a request, without a task."""
        self.handler, self.quick = handler, quick
        self.heads = Heads()
        self.connections: set[Connection] = set()
        self._listeners: list[asyncio.AbstractServer] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> None:
        """Accept on a TCP address. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self._connection, host, port, backlog=BACKLOG))
        self._sweep()

    async def listen_on(self, listener: socket.socket) -> None:
        """Accept on a socket that listens already, TCP or Unix; several processes may share it."""
        loop = asyncio.get_running_loop()
        open_server = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        self._listeners.append(await open_server(self._connection, sock=listener, backlog=BACKLOG))
        if self._sweeper is None:
            self._sweep()

    def _connection(self) -> Connection:
        return Connection(self)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self.connections):
            connection.sweep(loop.time())
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.abort()
