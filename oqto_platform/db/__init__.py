"""
The core's database: SQLite in WAL mode, one writer thread, a few readers.

`await db.write(fn)` and `await db.read(fn)` run a plain function with a SQLModel session in a thread; a
write is one transaction that commits when the function returns, and that has reached the disk then: money hangs on
session rows. Functions return Structs, never models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlmodel import Session as Transaction

from oqto_platform.db.changes import Changes

T = TypeVar("T")

READERS = 4
BUSY_TIMEOUT_MS = 5_000
PRAGMAS = (
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    f"pragma busy_timeout = {BUSY_TIMEOUT_MS}",
    "pragma foreign_keys = on",
)


class Database:
    """Threads around one SQLite file, `readers` of them for reading. `close()` waits for what is running."""

    def __init__(self, path: Path, readers: int | None = None) -> None:
        self.path = path
        self.engine = open_engine(path)
        self.changes = Changes(path)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="db-write")
        self._readers = ThreadPoolExecutor(readers or READERS, thread_name_prefix="db-read")

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a reader thread; it must not change anything."""
        return await self._run(self._readers, work)

    async def write(self, work: Callable[[Transaction], T], *, outlives_power: bool = True) -> T:
        """
        Run `work` as one transaction on the writer thread; an exception rolls it back.

        Every write survives `kill -9`. Without `outlives_power` nobody waits for the disk, and a power cut may undo
        it: only for what a power cut makes untrue anyway.
        """
        return await self._run(self._writer, work, sync="full" if outlives_power else "normal")

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[Transaction], T], *, sync: str = "") -> T:
        """`sync`: of a write, how long its commit waits; empty for reading."""

        def transact() -> T:
            with Transaction(self.engine, expire_on_commit=False) as transaction:
                if sync:
                    transaction.connection().exec_driver_sql(f"pragma synchronous = {sync}")
                    transaction.connection().exec_driver_sql("begin immediate")
                result = work(transaction)
                if sync:
                    transaction.commit()
                return result

        return await asyncio.get_running_loop().run_in_executor(pool, transact)

    async def close(self) -> None:
        self.changes.close()
        for pool in (self._writer, self._readers):
            await asyncio.to_thread(pool.shutdown)
        self.engine.dispose()


def open_engine(path: Path) -> Engine:
    """An engine on `path` (0600, folder 0700) that leaves transactions to the caller."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 5.0})
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # The sqlite3 module opens transactions behind SQLAlchemy's back, and only deferred ones.
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)
