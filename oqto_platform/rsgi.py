"""
Serve a Litestar application over RSGI, so that plain `granian oqto_platform.app` works.

Granian's default interface is RSGI and Litestar speaks only ASGI. Granian prefers three methods of the
target when they exist: `__rsgi_init__(loop)` and `__rsgi_del__(loop)`, called with the loop stopped, and
`async __rsgi__(scope, proto)`, called per connection. `RSGIMixin` has them and translates each connection.
Under `GRANIAN_INTERFACE=asgi` none of this runs.

RSGI cannot express everything that ASGI can. The application must not depend on a WebSocket's close code,
reason or subprotocol (the mux says `bye` first), on back-pressure of HTTP bodies, nor on header values
outside of Latin-1. Facts of the protocol: Granian's `docs/spec/RSGI.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any
from urllib.parse import quote

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

Message = dict[str, Any]

_CLOSED, _BYTES = 0, 1


class RSGIMixin:
    """Adds the RSGI entry points to a Litestar subclass."""

    # One task owns the whole lifespan: task groups and time-outs entered at the start must be left by
    # the task that entered them.
    _stop: asyncio.Event
    _life: asyncio.Task[None]

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stop = asyncio.Event()
        started: asyncio.Future[BaseException | None] = loop.create_future()
        self._life = loop.create_task(self._live(started))
        if failure := loop.run_until_complete(started):
            raise failure

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stop.set()
        loop.run_until_complete(self._life)

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        connection = _Http(proto) if scope.proto == "http" else _WebSocket(proto)
        call: Callable[..., Awaitable[None]] = self.__call__  # type: ignore[operator]
        try:
            await call(to_asgi(scope), connection.receive, connection.send)
        finally:
            connection.finish()

    async def _live(self, started: asyncio.Future[BaseException | None]) -> None:
        context: AbstractAsyncContextManager[None] = self.lifespan()  # type: ignore[attr-defined]
        try:
            await context.__aenter__()
        except BaseException as exc:  # noqa: BLE001 (raised by the starter, outside of the loop)
            # As a result and not as an exception: with a SystemExit in it, a loop never stops for a future.
            started.set_result(exc)
            return
        started.set_result(None)
        await self._stop.wait()
        await context.__aexit__(None, None, None)


def to_asgi(scope: Any) -> Message:
    """The ASGI scope of an RSGI one."""
    is_websocket = scope.proto == "ws"
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in scope.headers.items()]
    if scope.authority and "host" not in scope.headers:
        headers.insert(0, (b"host", scope.authority.encode("latin-1")))
    translated: Message = {
        "type": "websocket" if is_websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": scope.http_version,
        "scheme": scope.scheme.replace("http", "ws") if is_websocket else scope.scheme,
        "path": scope.path,
        "raw_path": quote(scope.path).encode("ascii"),
        "query_string": scope.query_string.encode("latin-1"),
        "root_path": "",
        "headers": headers,
        "server": _address(scope.server),
        "client": _address(scope.client),
        "extensions": {},
        "state": {},
    }
    if is_websocket:
        return translated | {"subprotocols": []}
    return translated | {"method": scope.method}


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else None


class _Http:
    def __init__(self, proto: Any) -> None:
        self._proto = proto
        self._chunks: AsyncIterator[bytes] | None = None
        self._is_read = False
        self._gone: asyncio.Future[None] | None = None
        self._answered = asyncio.Event()
        self._head: tuple[int, list[tuple[str, str]]] | None = None
        self._stream: Any = None

    async def receive(self) -> Message:
        if self._is_read:
            await self._until_gone()
            return {"type": "http.disconnect"}
        self._chunks = self._chunks or aiter(self._proto)
        chunk = await anext(self._chunks, b"")
        self._is_read = not chunk
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
            ]
            self._head = message["status"], headers
            return
        if self._head is None:
            raise RuntimeError("a response body before its start, or after its end")
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._stream is None and not more:
            self._proto.response_bytes(*self._head, body)
        else:
            self._stream = self._stream or self._proto.response_stream(*self._head)
            if body:
                with suppress(ProtocolClosed):  # ASGI: sending after a disconnect does nothing
                    await self._stream.send_bytes(body)
        if not more:
            self._head = None
            self.finish()

    def finish(self) -> None:
        self._stream = None  # dropping the stream is what ends the body
        self._answered.set()
        if self._gone is not None:
            self._gone.cancel()

    async def _until_gone(self) -> None:
        self._gone = self._gone or asyncio.ensure_future(self._proto.client_disconnect())
        answered = asyncio.ensure_future(self._answered.wait())
        try:
            await asyncio.wait({self._gone, answered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()


class _WebSocket:
    def __init__(self, proto: Any) -> None:
        self._proto = proto
        self._transport: Any = None
        self._is_announced = False

    async def receive(self) -> Message:
        if not self._is_announced:
            self._is_announced = True
            return {"type": "websocket.connect"}
        if self._transport is None:
            return {"type": "websocket.disconnect", "code": 1006}
        try:
            message = await self._transport.receive()
        except ProtocolClosed:
            return {"type": "websocket.disconnect", "code": 1006}
        if message.kind == _CLOSED:
            return {"type": "websocket.disconnect", "code": 1005}
        if message.kind == _BYTES:
            return {"type": "websocket.receive", "bytes": message.data, "text": None}
        return {"type": "websocket.receive", "text": message.data, "bytes": None}

    def send(self, message: Message) -> Awaitable[None]:
        # No coroutine: Granian's own future goes through, so that nobody has to make a task of it.
        if message["type"] != "websocket.send":
            return self._negotiate(message)
        text, transport = message.get("text"), self._transport
        sent: Awaitable[None] = (
            transport.send_bytes(message["bytes"]) if text is None else transport.send_str(text)
        )
        return sent

    async def _negotiate(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self._transport = await self._proto.accept()
        elif message["type"] == "websocket.close":
            self.finish()

    def finish(self) -> None:
        # Needed after the client's close too: Granian answers the closing handshake here, and drops the
        # TCP connection once the transport is freed; else the client waits ten seconds.
        self._proto.close(403 if self._transport is None else None)
        self._transport = None
