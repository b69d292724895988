"""
One subscription: event lines from the runner to the browser, as they are.

The lines are not parsed on the way. When the runner goes away (a restart), the follower comes back with
the last `seq` it passed on, so the browser sees neither a gap nor a double.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import msgspec
import structlog

from oqto_platform import wire
from oqto_platform.canon import ResyncRequired, encode
from oqto_platform.errors import NotFound, OqtoError
from oqto_platform.metrics.counts import counts
from oqto_platform.mux import frames
from oqto_platform.mux.outbox import Outbox
from oqto_platform.runners.client import RunnerClient
from oqto_platform.runners.stream import EventStream
from oqto_platform.types import SessionId

log = structlog.get_logger("oqto.mux")

BACKOFF_S = (0.1, 0.3, 1.0, 2.0, 5.0)


class _Numbered(msgspec.Struct):
    seq: int = 0


_seq_of = msgspec.json.Decoder(_Numbered).decode


class Follower:
    """
    Follows one session for one client, through its `outbox`.

    `lines`: events that wait together go out in one frame, one a line.
    """

    def __init__(
        self, runner: RunnerClient, session_id: SessionId, after: int, outbox: Outbox, *, lines: bool = False
    ) -> None:
        self._sends_lines = lines
        self._runner = runner
        self._session_id = session_id
        self._after = after
        self._outbox = outbox
        self._stack = AsyncExitStack()
        self._stream: EventStream | None = None
        self._last = b""

    async def open(self) -> wire.Following:
        """Connect; what comes next is in the answer. Call `relay` afterwards, or `close`."""
        following, self._stream = await self._stack.enter_async_context(
            self._runner.follow(self._session_id, self._after)
        )
        if following.mode == "snapshot":
            self._after = 0  # our place may be one of a log that was lost; the new one may grow past it
        return following

    async def close(self) -> None:
        await self._stack.aclose()

    async def relay(self) -> None:
        """Pass events on until cancelled or until the session is deleted."""
        tries = 0
        try:
            while True:
                if await self._pass_on():
                    tries = 0
                await self._stack.aclose()
                await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
                tries += 1
                if not await self._reopen():
                    return
        finally:
            await self._stack.aclose()

    async def _pass_on(self) -> bool:
        """Relay until the runner closes; whether anything came."""
        stream, self._stream, self._last = self._stream, None, b""
        if stream is None:
            return False
        self._outbox.attach(stream)
        try:
            stream.begin(self._take)
            await stream.closed()
        finally:
            self._outbox.detach(stream)
        if self._last:
            self._after = max(self._after, _seq_of(self._last).seq)
        return bool(self._last)

    def _take(self, lines: list[bytes]) -> None:
        counts.add("oqto_events_relayed", amount=len(lines))
        self._last = lines[-1]
        if self._sends_lines:
            self._outbox.put(frames.events(lines), is_lines=True)
            return
        for line in lines:
            self._outbox.put(frames.event(line), is_lines=False)

    async def _reopen(self) -> bool:
        """Follow again from where we were; false when the session is gone for good."""
        try:
            following = await self.open()
        except NotFound:
            return False
        except OqtoError as exc:
            log.debug("runner is away", session=self._session_id, reason=exc.detail)
            return True
        if following.mode == "snapshot":
            notice = ResyncRequired(session_id=self._session_id, oldest=1, reason="the runner was restarted")
            self._outbox.put(frames.event(encode(notice)), is_lines=False)
        return True
