"""The open event logs, each once however many read it; one that nobody needs is closed."""

from __future__ import annotations

from pathlib import Path

from oqto_runner.eventlog import EventLog
from oqto_runner.store import SessionFolder


class Logs:
    """Counts who uses a log: its agent and its followers."""

    def __init__(self, root: Path, runner_id: str) -> None:
        self._root = root
        self._runner_id = runner_id
        self._open: dict[str, EventLog] = {}
        self._users: dict[str, int] = {}

    def take(self, session_id: str) -> EventLog:
        """The log of a session, opened when it is not; pair with `give_back`. Raises `DiskFull`."""
        if session_id not in self._open:
            folder = SessionFolder(self._root, session_id)
            self._open[session_id] = EventLog(folder.path, session_id, self._runner_id)
        self._users[session_id] = self._users.get(session_id, 0) + 1
        return self._open[session_id]

    async def give_back(self, session_id: str, events: EventLog) -> None:
        if self._open.get(session_id) is not events:
            return  # dropped meanwhile
        users = self._users.get(session_id, 0) - 1
        if users > 0:
            self._users[session_id] = users
        else:
            await self.drop(session_id)

    async def drop(self, session_id: str) -> None:
        """Close it now; its followers are let go."""
        self._users.pop(session_id, None)
        if (events := self._open.pop(session_id, None)) is not None:
            await events.close()

    async def close(self) -> None:
        for session_id in list(self._open):
            await self.drop(session_id)
