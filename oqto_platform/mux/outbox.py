"""
Frames on their way to one client: in order, and one at a time with the transport.

Event lines that wait together leave in one frame, whichever sessions they are of. Nothing here is a task: the
transport's own future says when the next frame may go, which spares two turns of the loop for every event.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from oqto_platform import clock

HIGH_BYTES = 256 * 1024
"""So much may wait before the sources are paused. Each may have one more chunk on its way."""
LOW_BYTES = 64 * 1024
FRAME_BYTES = 256 * 1024


class Source(Protocol):
    """Where events come from, as far as it can be made to wait."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass(slots=True)
class _Waiting:
    text: str
    is_lines: bool
    gone: asyncio.Future[None] | None = None


class Outbox:
    """`send` hands one frame to the transport; what it returns is done when the transport took it."""

    def __init__(self, send: Callable[[str], Awaitable[Any]]) -> None:
        self._send = send
        self._waiting: deque[_Waiting] = deque()
        self._size = 0
        self._on_the_way: list[_Waiting] = []
        self._sources: set[Source] = set()
        self._is_full = False
        self._fault: BaseException | None = None
        self.sending_since: float | None = None

    async def send(self, text: str) -> None:
        """Returns when the transport took the frame. Raises what the transport raised."""
        if self._fault is not None:
            raise self._fault
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Waiting(text, is_lines=False, gone=gone))
        await gone

    def put(self, text: str, *, is_lines: bool) -> None:
        """Send when its turn comes. `is_lines`: may share a frame, a line each, with others of its kind."""
        if self._fault is None:
            self._put(_Waiting(text, is_lines))

    def drop(self) -> None:
        """Forget what the transport has not got yet."""
        self._fail_waiting(asyncio.CancelledError())
        self._let_go_on()

    def attach(self, source: Source) -> None:
        """Have `source` wait whenever the client is behind."""
        self._sources.add(source)
        if self._is_full:
            source.pause()

    def detach(self, source: Source) -> None:
        self._sources.discard(source)

    def _put(self, frame: _Waiting) -> None:
        self._waiting.append(frame)
        self._size += len(frame.text)
        if not self._on_the_way:
            self._go_on()
        if self._size > HIGH_BYTES and not self._is_full:
            self._is_full = True
            for source in self._sources:
                source.pause()

    def _go_on(self) -> None:
        if not self._waiting:
            return
        self._on_the_way = self._next()
        self.sending_since = clock.monotonic()
        try:
            sent = asyncio.ensure_future(self._send("\n".join(frame.text for frame in self._on_the_way)))
        except Exception as exc:  # noqa: BLE001 - a transport may refuse at once or later; it is the same to us
            self._fail(exc)
            return
        sent.add_done_callback(self._sent)

    def _next(self) -> list[_Waiting]:
        frames, size = [self._waiting.popleft()], 0
        while frames[0].is_lines and self._waiting and self._waiting[0].is_lines and size < FRAME_BYTES:
            frames.append(self._waiting.popleft())
            size += len(frames[-1].text)
        self._size -= sum(len(frame.text) for frame in frames)
        return frames

    def _sent(self, sent: asyncio.Future[Any]) -> None:
        fault = ConnectionError("sending was cancelled") if sent.cancelled() else sent.exception()
        if fault is not None:
            self._fail(fault)
            return
        frames, self._on_the_way, self.sending_since = self._on_the_way, [], None
        _settle(frames, None)
        self._go_on()
        if self._is_full and self._size <= LOW_BYTES:
            self._let_go_on()

    def _let_go_on(self) -> None:
        if self._is_full:
            self._is_full = False
            for source in self._sources:
                source.resume()

    def _fail(self, fault: BaseException) -> None:
        """The client cannot be told anything any more."""
        self._fault = fault
        frames, self._on_the_way, self.sending_since = self._on_the_way, [], None
        _settle(frames, fault)
        self._fail_waiting(fault)
        self._let_go_on()

    def _fail_waiting(self, fault: BaseException) -> None:
        frames, self._waiting, self._size = self._waiting, deque(), 0
        _settle(frames, fault)


def _settle(frames: list[_Waiting] | deque[_Waiting], fault: BaseException | None) -> None:
    for frame in frames:
        if frame.gone is None or frame.gone.done():
            continue
        if isinstance(fault, asyncio.CancelledError):
            frame.gone.cancel()
        elif fault is not None:
            frame.gone.set_exception(fault)
        else:
            frame.gone.set_result(None)
