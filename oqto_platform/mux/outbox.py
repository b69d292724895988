"""
Frames on their way to one client: in order, and one at a time with the transport.

Event lines that wait together leave in one frame, whichever sessions they are of. Nothing here is a task: the
transport's own future says when the next frame may go. It is looked at when there is a next frame; only who finds it
unfinished, or waits for it, is called back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
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
    size: int = field(init=False)
    """In bytes, as the client gets it."""

    def __post_init__(self) -> None:
        # Python knows whether a text is ASCII; only others have to be encoded to be measured.
        self.size = len(self.text) if self.text.isascii() else len(self.text.encode())


class Outbox:
    """`send` hands one frame to the transport; what it returns is done when the transport took it."""

    def __init__(self, send: Callable[[str], Awaitable[Any]]) -> None:
        self._send = send
        self._waiting: deque[_Waiting] = deque()
        self._size = 0
        self._sent: asyncio.Future[Any] | None = None
        self._sent_at = 0.0
        self._on_the_way: list[_Waiting] = []
        self._is_watched = False
        self._sources: set[Source] = set()
        self._is_full = False
        self._fault: BaseException | None = None

    @property
    def sending_since(self) -> float | None:
        """When the frame was handed over that the transport has not taken yet."""
        return None if self._sent is None or self._sent.done() else self._sent_at

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
            if not self._waiting and self._is_free():
                self._hand_over(text)
            elif self._fault is None:
                self._put(_Waiting(text, is_lines))

    def drop(self) -> None:
        """Forget what the transport has not got yet."""
        self._is_free()  # else nobody would look at a fault of the last frame
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
        self._size += frame.size
        self._go_on()
        if self._size > HIGH_BYTES and not self._is_full:
            self._is_full = True
            for source in self._sources:
                source.pause()

    def _is_free(self) -> bool:
        """Whether the transport took everything that it got without a fault."""
        if self._is_watched:
            return False
        if self._sent is not None and self._sent.done():
            self._took(self._sent)
        return self._sent is None and self._fault is None

    def _go_on(self) -> None:
        if self._is_free() and self._waiting:
            self._on_the_way = self._next()
            self._hand_over("\n".join([frame.text for frame in self._on_the_way]))
        # Only for those who wait: to be called back through the transport's thread costs as much as the frame.
        if self._sent is not None and not self._is_watched and self._has_waiters():
            self._is_watched = True
            self._sent.add_done_callback(self._called_back)

    def _has_waiters(self) -> bool:
        return bool(self._waiting) or any(frame.gone is not None for frame in self._on_the_way)

    def _hand_over(self, text: str) -> None:
        self._sent_at = clock.monotonic()
        try:
            sent = self._send(text)
            self._sent = sent if asyncio.isfuture(sent) else asyncio.ensure_future(sent)
        except Exception as exc:  # noqa: BLE001 - a transport may refuse at once or later; it is the same to us
            self._fail(exc)

    def _next(self) -> list[_Waiting]:
        frames, size = [self._waiting.popleft()], 0
        while frames[0].is_lines and self._waiting and self._waiting[0].is_lines and size < FRAME_BYTES:
            frames.append(self._waiting.popleft())
            size += frames[-1].size
        self._size -= sum(frame.size for frame in frames)
        return frames

    def _called_back(self, sent: asyncio.Future[Any]) -> None:
        self._is_watched = False
        self._took(sent)
        self._go_on()
        if self._is_full and self._size <= LOW_BYTES:
            self._let_go_on()

    def _took(self, sent: asyncio.Future[Any]) -> None:
        fault = ConnectionError("sending was cancelled") if sent.cancelled() else sent.exception()
        if fault is not None:
            self._fail(fault)
            return
        self._sent = None
        if self._on_the_way:
            frames, self._on_the_way = self._on_the_way, []
            _settle(frames, None)

    def _let_go_on(self) -> None:
        if self._is_full:
            self._is_full = False
            for source in self._sources:
                source.resume()

    def _fail(self, fault: BaseException) -> None:
        """The client cannot be told anything any more."""
        self._fault = fault
        frames, self._on_the_way, self._sent = self._on_the_way, [], None
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
