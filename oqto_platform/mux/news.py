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
from oqto_platform.types import Identity

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


class Edition:
    """The list of an account as it was at one moment."""

    def __init__(self, number: int, views: dict[str, SessionView]) -> None:
        self.number = number
        self.views = views
        self._since: dict[int, str] = {}

    def since(self, known: Edition | None) -> str:
        """The frame that tells who knows `known`; made once for everybody who does."""
        if known is None:
            return _frame(list(self.views.values()), [], is_all=True)
        if known.number not in self._since:
            changed = [view for view in self.views.values() if known.views.get(view.id) is not view]
            self._since[known.number] = _frame(changed, _gone(known.views, self.views), is_all=False)
        return self._since[known.number]

    def next(self, views: list[SessionView]) -> Edition:
        """The edition after this one: this one itself when nothing is new."""
        known = {view.id: self.views.get(view.id) for view in views}
        kept = {view.id: old if (old := known[view.id]) == view else view for view in views}
        is_same = len(kept) == len(self.views) and all(kept[name] is known[name] for name in kept)
        return self if is_same else Edition(self.number + 1, kept)


class News:
    """
    For all browsers of one account; it is looked once for all of them.

    `listed(limit)` gives the sessions of the account, `commits(seen)` returns after the next commit.
    """

    def __init__(
        self,
        listed: Callable[[int], Awaitable[list[SessionView]]],
        runner: Watchable,
        commits: Callable[[int], Awaitable[int]],
    ) -> None:
        self.readers = 0
        self._listed = listed
        self._runner = runner
        self._commits = commits
        self._woken = asyncio.Event()
        self._edition: Edition | None = None
        self._printed = asyncio.Event()
        jobs = (self._print(), self._hear_runner(), self._hear_commits())
        self._jobs = [asyncio.create_task(job) for job in jobs]

    async def close(self) -> None:
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    async def tell(self, send: Send) -> None:
        """Tell one browser until cancelled, or until `send` fails."""
        known: Edition | None = None
        while True:
            while self._edition is None or self._edition is known:
                await self._printed.wait()
            edition = self._edition
            await send(edition.since(known))
            known = edition

    async def _print(self) -> None:
        while True:
            self._woken.clear()
            await self._look()
            await self._woken.wait()
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        try:
            views = await self._listed(SHOWN)
        except OqtoError as exc:
            log.debug("sessions are not known", reason=exc.detail)
            return
        except Exception:  # the browsers keep what they know, and hear of the next change
            log.exception("sessions cannot be listed")
            return
        self._edition = self._edition.next(views) if self._edition else _first(views)
        printed, self._printed = self._printed, asyncio.Event()
        printed.set()

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


class Newsroom:
    """The news of every account that has a browser here; `open_news` begins one."""

    def __init__(self, open_news: Callable[[Identity], News]) -> None:
        self._open = open_news
        self._news: dict[Identity, News] = {}

    async def tell(self, identity: Identity, send: Send) -> None:
        """Tell one browser of `identity` until cancelled, or until `send` fails."""
        news = self._news.get(identity)
        if news is None:
            news = self._news[identity] = self._open(identity)
        news.readers += 1
        try:
            await news.tell(send)
        finally:
            news.readers -= 1
            if not news.readers:
                del self._news[identity]
                await news.close()


def _first(views: list[SessionView]) -> Edition:
    return Edition(1, {view.id: view for view in views})


def _gone(before: dict[str, SessionView], now: dict[str, SessionView]) -> list[str]:
    """What is missing now, but for what others have pushed out of a full list."""
    edge = min((_used(view) for view in now.values()), default=0.0) if len(now) >= SHOWN else 0.0
    return [known.id for known in before.values() if known.id not in now and _used(known) >= edge]


def _used(view: SessionView) -> float:
    return view.last_active_at or view.created_at


def _frame(sessions: list[SessionView], gone: list[str], *, is_all: bool) -> str:
    fields: dict[str, Any] = {"sessions": sessions, "gone": gone, "all": is_all, "most": SHOWN}
    return frames.system("sessions", **fields)
