"""The agent's side of a WebSocket, on the connection that its request came on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from .request import Request

MESSAGE_LIMIT = 16 * 2**20
WAITING_LIMIT = 2**20
REASON_LIMIT = 123


def sayable(code: int) -> int:
    """A close code that may stand in a frame: some only tell what happened (RFC 6455, 7.4.1)."""
    return {1005: 1000, 1006: 1001, 1015: 1011}.get(code, code)


class WebSocket:
    """Accept, then `receive` until it answers `None`; `close_code` and `close_reason` say how it ended."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._protocol = ServerProtocol(max_size=MESSAGE_LIMIT)
        self._messages: deque[str | bytes] = deque()
        self._parts: list[bytes] = []
        self._is_text = True
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False

    def accept(self, subprotocol: str = "") -> bool:
        """Answer the handshake; whether it was one."""
        self._protocol.receive_data(self._handshake())
        (asked,) = self._protocol.events_received()
        assert isinstance(asked, Handshake)
        response = self._protocol.accept(asked)
        if subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        self._protocol.send_response(response)
        self._request.has_begun = True
        self._flush()
        if self._protocol.state is not State.OPEN:
            self._end()
            return False
        self._request.tunnel(self._feed)
        return True

    def _handshake(self) -> bytes:
        names = (b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version")
        headers = self._request.headers
        lines = [b"%b: %b\r\n" % (name, headers[name]) for name in names if name in headers]
        return b"GET / HTTP/1.1\r\n" + b"".join(lines) + b"\r\n"

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)
            self._take(frame.opcode, bytes(frame.data), is_last=frame.fin)
        self._flush()
        if self._protocol.state is not State.OPEN:
            self._is_over = True
        self._wake()

    def _take(self, opcode: Opcode, data: bytes, *, is_last: bool) -> None:
        if opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if opcode is not Opcode.CONT:
            self._is_text = opcode is Opcode.TEXT
        self._parts.append(data)
        if not is_last:
            return
        whole, self._parts = b"".join(self._parts), []
        self._messages.append(whole.decode(errors="replace") if self._is_text else whole)
        self._size += len(whole)
        if self._size > WAITING_LIMIT:
            self._request.pause()

    async def receive(self) -> str | bytes | None:
        """The next message; `None` once the client has closed."""
        while not self._messages:
            if self._is_over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._messages.popleft()
        self._size -= len(message)
        if self._size <= WAITING_LIMIT:
            self._request.resume()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the client is far behind."""
        if self._protocol.state is not State.OPEN:
            return
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()
        await self._request.drained()

    @property
    def close_code(self) -> int:
        """How the client closed; 1006: it just left."""
        return self._protocol.close_code or 1006

    @property
    def close_reason(self) -> str:
        """Why, in the client's words."""
        return self._protocol.close_reason or ""

    def close(self, code: int, reason: str) -> None:
        """Close. A reason is cut at the 123 bytes that a frame holds."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason.encode()[:REASON_LIMIT].decode(errors="ignore"))
        self._flush()
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._request.keeps = False
        self._request.has_ended = True

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._request.send(data)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
