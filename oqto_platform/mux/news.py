"""
A browser's list of sessions, kept up to date: all of it at first, then what changed.

Two things are waited for, a runner that says that an agent works or rests, and a commit to the database; what to
tell is the difference between the list as it was told and as it is. So nothing depends on the order of the two,
and a change that is told late is never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import structlog

from oqto_platform.errors import OqtoError
from oqto_platform.mux import frames
from oqto_platform.sessions.schemas import SessionView

log = structlog.get_logger("oqto.mux")

SHOWN = 100
"""Sessions that are kept up to date: those that were used last."""

PAUSE_S = 0.15
BACKOFF_S = 2.0

Send = Callable[[str], Awaitable[None]]


class Watchable(Protocol):
    """The account's runner."""

    def watch(self) -> AbstractAsyncContextManager[asyncio.StreamReader]:
        """A line for each change; ends when the runner does."""


class News:
    """`listed(limit)` gives the sessions of one account, `commits(seen)` returns after the next commit."""

    def __init__(
        self,
        listed: Callable[[int], Awaitable[list[SessionView]]],
        runner: Watchable,
        commits: Callable[[int], Awaitable[int]],
    ) -> None:
        self._listed = listed
        self._runner = runner
        self._commits = commits
        self._woken = asyncio.Event()
        self._told: dict[str, SessionView] | None = None

    async def tell(self, send: Send) -> None:
        """Tell until cancelled, or until `send` fails."""
        watching = [asyncio.create_task(job) for job in (self._hear_runner(), self._hear_commits())]
        try:
            while True:
                await self._tell_changes(send)
                await self._woken.wait()
                await asyncio.sleep(PAUSE_S)
                self._woken.clear()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _hear_runner(self) -> None:
        while True:
            try:
                async with self._runner.watch() as lines:
                    self._woken.set()
                    while await lines.readline():
                        self._woken.set()
            except (OqtoError, OSError, ValueError) as exc:
                log.debug("runner is away", reason=str(exc))
            self._woken.set()  # without its agents, a session is another
            await asyncio.sleep(BACKOFF_S)

    async def _hear_commits(self) -> None:
        seen = 0
        while True:
            seen = await self._commits(seen)
            self._woken.set()

    async def _tell_changes(self, send: Send) -> None:
        try:
            views = await self._listed(SHOWN)
        except OqtoError as exc:
            log.debug("sessions are not known", reason=exc.detail)
            return
        told, self._told = self._told, {view.id: view for view in views}
        if told is None:
            await send(_frame(views, [], is_all=True))
            return
        changed = [view for view in views if told.get(view.id) != view]
        gone = _gone(told, self._told)
        if changed or gone:
            await send(_frame(changed, gone, is_all=False))


def _gone(before: dict[str, SessionView], now: dict[str, SessionView]) -> list[str]:
    """What is missing now, but for what others have pushed out of a full list."""
    edge = min((_used(view) for view in now.values()), default=0.0) if len(now) >= SHOWN else 0.0
    return [known.id for known in before.values() if known.id not in now and _used(known) >= edge]


def _used(view: SessionView) -> float:
    return view.last_active_at or view.created_at


def _frame(sessions: list[SessionView], gone: list[str], *, is_all: bool) -> str:
    fields: dict[str, Any] = {"sessions": sessions, "gone": gone, "all": is_all, "most": SHOWN}
    return frames.system("sessions", **fields)
