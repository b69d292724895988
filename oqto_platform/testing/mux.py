"""A client of `/api/ws/mux` for tests: commands with their one reply, events in the order they came."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets

TIMEOUT_S = 30.0

Event = dict[str, Any]


class MuxClient:
    """`events` holds everything that came for any session, `system` the other frames."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Event]] = {}
        self._news = asyncio.Condition()
        self.events: list[Event] = []
        self.system: list[Event] = []

    async def read(self) -> None:
        """Sort incoming frames until the socket closes."""
        async for text in self._socket:
            frame = json.loads(text)
            async with self._news:
                if frame.get("event") == "response":
                    self._waiting.pop(frame["id"]).set_result(frame)
                elif frame["channel"] == "agent":
                    self.events.append(frame)
                else:
                    self.system.append(frame)
                self._news.notify_all()

    async def command(self, session_id: str, cmd: str, **fields: Any) -> Event:
        """Send a command; its reply, successful or not."""
        name = f"c{next(self._ids)}"
        self._waiting[name] = asyncio.get_running_loop().create_future()
        frame = {"channel": "agent", "id": name, "session_id": session_id, "cmd": cmd, **fields}
        await self._socket.send(json.dumps(frame))
        return await asyncio.wait_for(self._waiting[name], TIMEOUT_S)

    async def until(
        self, matches: Callable[[Event], bool], *, since: int = 0, timeout_s: float = TIMEOUT_S
    ) -> Event:
        """The first event from position `since` on that matches; waits for it."""
        return await self._first(self.events, matches, since, timeout_s)

    async def until_told(self, matches: Callable[[Event], bool], *, timeout_s: float = TIMEOUT_S) -> Event:
        """The first frame of the server's own that matches; waits for it."""
        return await self._first(self.system, matches, 0, timeout_s)

    async def _first(
        self, frames: list[Event], matches: Callable[[Event], bool], since: int, timeout_s: float
    ) -> Event:
        def found() -> Event | None:
            return next((frame for frame in frames[since:] if matches(frame)), None)

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(lambda: found() is not None), timeout_s)
            except TimeoutError:
                raise AssertionError(f"it did not come; there came {frames[since:]}"[:4000]) from None
        event = found()
        assert event is not None
        return event

    def names(self, since: int = 0) -> list[str]:
        """The kinds of the events so far."""
        return [event["event"] for event in self.events[since:]]

    def text(self, since: int = 0) -> str:
        """What the assistant streamed."""
        return "".join(
            event["delta"] for event in self.events[since:] if event["event"] == "stream.text_delta"
        )


@asynccontextmanager
async def mux_client(url: str, cookie: str, *, origin: str | None = None) -> AsyncIterator[MuxClient]:
    """A signed-in connection to the server at `url`."""
    address = f"ws{url.removeprefix('http')}/api/ws/mux"
    headers = {"Cookie": cookie} | ({"Origin": origin} if origin else {})
    async with websockets.connect(address, additional_headers=headers, max_size=None, proxy=None) as socket:
        client = MuxClient(socket)
        reading = asyncio.create_task(client.read())
        try:
            yield client
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
