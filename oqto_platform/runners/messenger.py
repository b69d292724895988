"""What plugins of the core tell sessions, on its way to the runners that keep their logs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from oqto_platform.errors import OqtoError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oqto_platform.canon import Event
    from oqto_platform.runners.client import RunnerClient
    from oqto_platform.types import SessionId

log = structlog.get_logger("oqto.runners")


class Messenger:
    """Delivers in the background, what is for one session in order; what cannot be delivered is logged."""

    def __init__(self, runner_of_session: Callable[[str], Awaitable[RunnerClient]]) -> None:
        self._runner_of_session = runner_of_session
        self._newest: dict[SessionId, asyncio.Task[None]] = {}

    def send(self, session_id: SessionId, event: Event) -> None:
        """Take an event for the log of a session."""
        before = self._newest.get(session_id)
        task = asyncio.get_running_loop().create_task(self._deliver(session_id, event, before))
        self._newest[session_id] = task
        task.add_done_callback(lambda done: self._forget(session_id, done))

    def _forget(self, session_id: SessionId, task: asyncio.Task[None]) -> None:
        if self._newest.get(session_id) is task:
            del self._newest[session_id]

    async def _deliver(self, session_id: SessionId, event: Event, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        try:
            runner = await self._runner_of_session(session_id)
            await runner.tell(session_id, event)
        except OqtoError as exc:
            log.info("a session was not told", session=session_id, reason=exc.detail)

    async def close(self) -> None:
        """Give up what is still under way."""
        for task in (left := list(self._newest.values())):
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
