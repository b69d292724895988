"""
Between one agent and the plugins: they hear what its tools did and may tell its log something.

They hear in order, one call at a time, and the agent never waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from oqto_platform.canon import Event, ToolEnd, ToolStart
from oqto_platform.hooks import Hooks
from oqto_platform.types import Outcome, Session, SessionId, ToolCall
from oqto_runner.watchers import TELLING

MAX_WAITING = 256
"""A plugin that is slower than the agent's tools misses some of them; the agent never waits for it."""

LAST_WORDS_S = 2.0


class Witness:
    """For one life of an agent. `changed` is called after what may change its state. `close` ends it."""

    def __init__(self, hooks: Hooks, session: Session, changed: Callable[[SessionId], None]) -> None:
        self._hooks = hooks
        self._session = session
        self._changed = changed
        self._inputs: dict[str, Any] = {}
        self._waiting: deque[ToolCall] = deque(maxlen=MAX_WAITING)
        self._telling: asyncio.Task[None] | None = None
        self._is_closed = False
        self.told: deque[Event] = deque()
        """What plugins told and the log does not have yet."""

    def take(self, event: Event) -> bool:
        """`False` when the end of the session is being written."""
        if not self._is_closed:
            self.told.append(event)
        return not self._is_closed

    def see(self, event: Event) -> None:
        """A durable event that was just logged."""
        if isinstance(event, ToolStart):
            self._inputs[event.tool_call_id] = event.input
        elif isinstance(event, ToolEnd):
            self._tell_soon(event)
        elif type(event) in TELLING:
            self._changed(self._session.id)

    def _tell_soon(self, event: ToolEnd) -> None:
        call = ToolCall(
            id=event.tool_call_id,
            name=event.name,
            input=self._inputs.pop(event.tool_call_id, None),
            output=event.output,
            is_error=event.is_error,
        )
        self._waiting.append(call)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._waiting:
            await self._hooks.call.tool_ended(self._session, self._waiting.popleft())

    async def close(self, outcome: Outcome) -> None:
        """The process is gone: the rest is told, then the end; all within `LAST_WORDS_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                if self._telling is not None:
                    await self._telling
                await self._hooks.call.agent_gone(self._session, outcome)
        self._is_closed = True
