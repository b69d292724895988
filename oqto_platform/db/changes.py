"""Hear of commits to the database, whichever worker made them."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

EVERY_S = 0.5


class Changes:
    """
    A number that grows with the commits to the SQLite file at `path`.

    SQLite tells nobody of a commit, but a connection may ask whether anybody else made one; that is done every
    `EVERY_S` while somebody waits, once for all of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._count = 0
        self._waiting = 0
        self._look: asyncio.Task[None] | None = None
        self._is_closed = False

    async def after(self, seen: int) -> int:
        """The number, as soon as it is another than `seen`; 0 is never one."""
        self._waiting += 1
        try:
            while self._count in (seen, 0):
                self._look = self._look or asyncio.create_task(self._until_changed())
                await asyncio.shield(self._look)
            return self._count
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._stop_looking()

    def close(self) -> None:
        """Let the file go."""
        self._is_closed = True
        self._stop_looking()
        if self._connection is not None:
            self._connection.close()

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    async def _until_changed(self) -> None:
        while True:
            version = await asyncio.to_thread(self._read)
            if version != self._version:
                break
            await asyncio.sleep(EVERY_S)
        self._version = version
        self._count += 1
        self._look = None

    def _read(self) -> int:
        try:
            return int(self._connected().execute("pragma data_version").fetchone()[0])
        except sqlite3.Error:  # locked for a moment, or closed: nothing is known to be new
            return self._version

    def _connected(self) -> sqlite3.Connection:
        if self._is_closed:
            raise sqlite3.ProgrammingError("closed")
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        return self._connection
