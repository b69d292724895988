"""Who wants to hear that a session of this runner begins, works, waits, rests or is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from oqto_platform.canon import (
    AgentIdle,
    AgentWorking,
    Event,
    InputNeeded,
    InputResolved,
    SessionClosed,
    SessionCreated,
    TitleChanged,
)
from oqto_platform.errors import NotFound
from oqto_platform.types import SessionId
from oqto_platform.wire import Done, SessionStatus

PAUSE_S = 0.05
TELLING: frozenset[type[Event]] = frozenset(
    (SessionCreated, SessionClosed, TitleChanged, AgentWorking, AgentIdle, InputNeeded, InputResolved)
)
"""Events after which a session's state or title may be another."""


class _Watcher:
    """One reader: the sessions it was not told of yet."""

    def __init__(self) -> None:
        self.changed: set[SessionId] = set()
        self.woken = asyncio.Event()

    async def take(self) -> set[SessionId]:
        """What changed, once something did. A pause, because what comes together is told together."""
        await self.woken.wait()
        await asyncio.sleep(PAUSE_S)
        self.woken.clear()
        taken, self.changed = self.changed, set()
        return taken


class Watchers:
    """`status` answers for a session, or raises `NotFound`."""

    def __init__(self, status: Callable[[SessionId], SessionStatus]) -> None:
        self._status = status
        self._open: set[_Watcher] = set()

    def changed(self, session_id: SessionId) -> None:
        """The state or the title of a session may be another now."""
        for watcher in self._open:
            watcher.changed.add(session_id)
            watcher.woken.set()

    async def watch(self) -> AsyncGenerator[Done | SessionStatus, None]:
        """`Done` as soon as nothing is missed any more, then each session whose state or title is another."""
        watcher = _Watcher()
        self._open.add(watcher)
        told: dict[SessionId, tuple[str, str]] = {}
        try:
            yield Done()
            while True:
                for session_id in await watcher.take():
                    status = self._now(session_id)
                    if status is not None and told.get(session_id) != (status.state, status.title):
                        told[session_id] = status.state, status.title
                        yield status
        finally:
            self._open.discard(watcher)

    def _now(self, session_id: SessionId) -> SessionStatus | None:
        try:
            return self._status(session_id)
        except NotFound:
            return None
