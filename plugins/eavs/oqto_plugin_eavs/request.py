"""One request of an agent and the way back to it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .head import Head
    from .upstream import Headers
    from .wallets import Ends

HIGH_WATER = 256 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEADER = b"%b: %b\r\n".__mod__
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Way(Protocol):
    """The connection that a request came on."""

    is_full: bool
    send: Callable[[bytes], None]
    """Takes bytes for the client, and forgets them when it has gone. Another one when the connection is lost."""

    async def drained(self) -> None:
        """Wait until the client has read on."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read again."""

    def tunnel(self, sink: Callable[[bytes], None]) -> None:
        """Hand what comes to `sink`, unread."""

    def serve(self, request: Request, work: Awaitable[None]) -> asyncio.Task[None]:
        """Have a task serve the request to its end."""

    def finish(self, request: Request) -> None:
        """The request is served."""


class Request:
    """
    One request and the way back to its client.

    `headers` are lower-case, values of repeated ones joined by a comma. Once the head is sent, `has_begun`;
    once the client has gone, `has_left`, and the task that serves it is cancelled, or what serves it in its place.
    """

    __slots__ = (
        "_body", "_connection", "_expects", "_is_chunked", "_size", "_waiter", "has_begun", "has_ended",
        "has_left", "head", "is_read", "keeps", "on_full", "task", "whole",
    )  # fmt: skip

    def __init__(self, connection: Way, head: Head, body: bytes | None = None) -> None:
        """`body`: all of it, where it has come already."""
        self.head = head
        self.keeps = head.keeps
        self.task: Ends | None = None
        self.on_full: Callable[[bool], None] | None = None
        self.has_begun = self.has_ended = self.has_left = False
        self._connection = connection
        self.whole = body
        """The body, when all of it came in one piece and no `chunk` was taken."""
        self._body: list[bytes] = [] if body is None else [body]
        self._size = 0
        self.is_read = body is not None
        """Whether the whole body has arrived."""
        self._expects = self._is_chunked = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def method(self) -> str:
        """`GET`, `POST`…"""
        return self.head.method

    @property
    def path(self) -> str:
        """The path, unquoted."""
        return self.head.path

    @property
    def query(self) -> bytes:
        """What stands behind the question mark."""
        return self.head.query

    @property
    def headers(self) -> dict[bytes, bytes]:
        """See above."""
        return self.head.headers

    # The body.

    async def chunk(self) -> bytes | None:
        """The next piece of the body, `None` at its end."""
        while not self._body:
            if self.is_read:
                return None
            await self._arrival()
        data = b"".join(self._body) if len(self._body) > 1 else self._body[0]
        self._body.clear()
        self._size, self.whole = 0, None  # whoever reads on holds it; a long stream must not
        self._connection.resume()
        return data

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
        self.is_read = True
        self.whole = self._body[0] if len(self._body) == 1 else None
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

    # How it is served.

    def serve(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Have a task serve it to its end, where none did before."""
        self.task = task = self._connection.serve(self, work)
        return task

    def finish(self) -> None:
        """It is served, by no task."""
        self._connection.finish(self)

    # The reply.

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head. Without a content-length the body goes in chunks."""
        self.has_begun = True
        has_length = any(name == b"content-length" for name, _ in headers)
        self._is_chunked = not has_length and self.head.version == "1.1"
        self.keeps = self.keeps and self.is_read and (has_length or self._is_chunked)
        self._connection.send(head_of(status, headers, is_chunked=self._is_chunked, keeps=self.keeps))

    def put(self, data: bytes) -> None:
        """Send a piece of the body; `on_full` tells when the client falls behind."""
        if not data or self.head.method == "HEAD":
            return
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    def chunked_way(self) -> Way | None:
        """The way for chunks that have their framing already, where the reply goes in chunks."""
        return self._connection if self._is_chunked and self.head.method != "HEAD" else None

    async def drained(self) -> None:
        """Wait while the client is far behind."""
        if self._connection.is_full:
            await self._connection.drained()

    def end(self) -> None:
        """The reply is complete."""
        self.has_ended = True
        if self._is_chunked and self.method != "HEAD":
            self._connection.send(b"0\r\n\r\n")

    def answer(self, status: int, headers: Headers, data: bytes) -> None:
        """Send a whole reply."""
        self.has_begun = self.has_ended = True
        self.keeps = self.keeps and self.is_read
        head = head_of(status, headers, length=len(data), keeps=self.keeps)
        self._connection.send(head if self.head.method == "HEAD" else head + data)

    # A connection that becomes a WebSocket.

    @property
    def is_websocket(self) -> bool:
        """Whether the client asks for a WebSocket."""
        return self.headers.get(b"upgrade", b"").lower() == b"websocket" and self.method == "GET"

    def tunnel(self, sink: Callable[[bytes], None]) -> None:
        """From now on what the client sends goes to `sink` as it is."""
        self._connection.tunnel(sink)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.send(data)

    def pause(self) -> None:
        """Read no more for now."""
        self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        self._connection.resume()

    def leave(self) -> None:
        """The client has gone."""
        self.has_left = True
        if self.task is not None and not self.has_ended:
            self.task.cancel()


def head_of(
    status: int, headers: Headers, *, keeps: bool, is_chunked: bool = False, length: int | None = None
) -> bytes:
    """How a reply begins; `length` is that of its body."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"")), *map(HEADER, headers)]
    if length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n" if keeps else b"connection: close\r\n\r\n")
    return b"".join(lines)
