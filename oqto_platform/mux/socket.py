"""The WebSocket route `/api/ws/mux`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.types import Send

from oqto_platform.auth.guards import credential
from oqto_platform.canon import Command
from oqto_platform.config.sections import Server
from oqto_platform.errors import TooLarge
from oqto_platform.mux import frames
from oqto_platform.mux.auditing import record_of
from oqto_platform.mux.connection import Connection
from oqto_platform.services import Services

Socket = WebSocket[Any, Any, Any]
SMALL = 2**20
"""Nothing below is ever too large: one comparison for nearly every frame."""

MOST_BYTES = 16 * 2**20 - 1024
"""Granian closes the connection on a longer frame, without a word and without asking us."""


@websocket("/api/ws/mux")
async def mux(socket: Socket, services: NamedDependency[Services]) -> None:
    """See `docs/reference/api.md`. The guard has checked the sign-in, the gate the origin."""
    await socket.accept()
    token = credential(socket)

    def told(session_id: str, command: Command) -> None:
        if (event := record_of(session_id, command)) is not None:
            services.audit(event)

    connection = Connection(
        _Peer(socket, lambda: services.live.current.section("server", Server).max_upload_size_mb),
        socket.user,
        services.sessions.runner,
        lambda: services.tokens.verify(token),
        services.version,
        told,
        services.farewell,
        partial(services.newsroom.tell, socket.user),
    )
    with suppress(ConnectionError, WebSocketDisconnect):
        await connection.run()
        await socket.send({"type": "websocket.close", "code": 1000, "reason": ""})


class _Peer:
    """Straight to the ASGI messages, without Litestar's helpers."""

    def __init__(self, socket: Socket, limit_mb: Callable[[], int]) -> None:
        self._socket = socket
        # The server's own: the layers in between cost more than the frames.
        self._send: Send = socket.state["send"]
        self._limit_mb = limit_mb

    async def receive(self) -> str | bytes | None:
        message = await self._socket.receive()
        if message["type"] != "websocket.receive":
            return None
        text: str | bytes = message.get("text") or message.get("bytes") or ""
        if len(text) > SMALL and len(text) > self.most_bytes():
            # Its id, so that whoever sent it hears of it.
            raise TooLarge(f"the message is larger than {self._limit()}", id=frames.read_head(text).id)
        return text

    def most_bytes(self) -> int:
        return min(self._limit_mb() * 2**20, MOST_BYTES)

    def _limit(self) -> str:
        if (limit_mb := self._limit_mb()) * 2**20 <= MOST_BYTES:
            return f"{limit_mb} MiB (server.max_upload_size_mb)"
        return "16 MiB, the most that a WebSocket takes (server.max_upload_size_mb would allow more)"

    def send(self, text: str) -> Awaitable[None]:
        # What the server gives is a future already; to await it here would make a task of it.
        return self._send({"type": "websocket.send", "text": text, "bytes": None})
