"""
The ledger's file: SQLite in WAL mode, written behind a journal.

The loop writes rows of calls into the journal. A call that opens (`open_row`) waits until its row is on the disk;
all that wait share one sync, in a thread. A bill (`close_row`) survives a `kill -9` at once and a power cut with the
next sync: until then its pending row stands for it. Rows reach SQLite in larger batches a moment later, most of
them once, already settled. Everything else (`write`) goes to SQLite at once. What fails for one writer never takes
the others along, and a full or locked disk is told to whoever waits.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from .journal import Batch, Journal, sync
from .tables import BUSY_MS, StoreFailed, bring_in, connect, fill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = structlog.get_logger("oqto.eavs")

RETRY_S = 0.5
BEHIND_S = 0.25
BEHIND_LIMIT = 50_000
"""Rows that may wait for a SQLite that is locked or full; then no call may leave."""
CLOSE_S = 2.0
Statement = tuple[str, tuple[Any, ...]]
Told = Callable[["StoreFailed | None"], None]
"""Called in the loop when a write is done, with what went wrong."""
Waiting = tuple[tuple[Any, ...], Told]
Job = tuple[list[int], list[Waiting]]


class Store:
    """One ledger file. Open it inside a running loop."""

    def __init__(self, path: Path, *, is_durable: bool = True) -> None:
        self.path = path
        self.failure = ""
        self._loop = asyncio.get_running_loop()
        self._opens: deque[Waiting] = deque()
        self._closes: deque[Waiting] = deque()
        self._unsynced: list[Waiting] = []
        self._others: deque[Waiting] = deque()
        self._behind: deque[tuple[int, Batch]] = deque()
        self._noted_rows = self._applied_rows = 0
        self._connection = connect(path, is_durable=is_durable)
        self._journal = Journal(path, is_durable=is_durable)
        bring_in(self._connection, self._journal.recover())
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._is_syncing = self._is_due = False
        self._applying = threading.Event()
        self._is_urgent, self._is_closing = threading.Event(), False
        self._noted: asyncio.Future[None] | None = None
        self._threads = [
            threading.Thread(target=work, name=f"ledger-{name}", daemon=True)
            for name, work in (("journal", self._keep_in_sync), ("writer", self._keep_ledger))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many writes are queued."""
        return len(self._opens) + len(self._closes) + len(self._others)

    def open_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Write a pending call, `COLUMNS`; done when it is on the disk, and fails when the disk does."""
        done = self._loop.create_future()
        self.note_open(row, partial(settle, done))
        return done

    def close_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Settle a call, its id and `OUTCOME`; done when a `kill -9` cannot undo it, tried again until it is."""
        done = self._loop.create_future()
        self.note_close(row, partial(settle, done))
        return done

    def note_open(self, row: tuple[Any, ...], told: Told) -> None:
        """`open_row` for those who wait without a coroutine."""
        if self._noted_rows - self._applied_rows > BEHIND_LIMIT:
            _tell([(row, told)], self.failure or "SQLite is behind")
            return
        self._opens.append((row, told))
        if not self._is_due:
            self._gather()

    def note_close(self, row: tuple[Any, ...], told: Told) -> None:
        """`close_row` for those who wait without a coroutine."""
        self._closes.append((row, told))
        if not self._is_due:
            self._gather()

    def _gather(self) -> None:
        self._is_due = True
        self._loop.call_soon(self._note)  # with all that this turn of the loop brings

    def write(self, *statements: Statement) -> asyncio.Future[None]:
        """Run statements as one transaction of their own, after the rows that are durable by now."""
        done = self._loop.create_future()
        self._others.append((statements, partial(settle, done)))
        self._is_urgent.set()
        self._applying.set()
        return done

    async def flush(self, timeout_s: float) -> bool:
        """Wait until what was queued before is in the ledger; whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_noted()
                await self.write()
        except (TimeoutError, StoreFailed):
            return False
        return not self._closes and not self.failure

    async def _all_noted(self) -> None:
        if self._is_due:
            if self._noted is None:
                self._noted = self._loop.create_future()
            await asyncio.wait({self._noted})

    async def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, with everything that was durable before it."""
        await self.flush(BUSY_MS / 1000)
        return await asyncio.to_thread(self._read, sql, values)

    def _read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, timeout=BUSY_MS / 1000)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    async def close(self) -> None:
        """Write what is queued and close the files."""
        deadline = self._loop.time() + CLOSE_S
        while (self._is_syncing or self._opens or self._closes) and self._loop.time() < deadline:  # noqa: ASYNC110 the writer is a thread
            await asyncio.sleep(0.002)
        self._is_closing = True
        self._jobs.put(None)
        for event in (self._is_urgent, self._applying):
            event.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, CLOSE_S)

    # The journal: the loop writes it, a thread waits for the disk.

    def _note(self) -> None:
        opens, closes = _take(self._opens), _take(self._closes)
        batch = Batch([row for row, _ in opens], [row for row, _ in closes])
        try:
            number = self._journal.append(batch)
        except OSError as exc:
            self.failure = exc.strerror or str(exc)
            self._put_off(opens, closes)
            return
        self._level()
        self._noted_rows += len(opens) + len(closes)
        self._behind.append((number, batch))
        if not self._applying.is_set():
            self._applying.set()
        _tell(closes, None)
        self._unsynced += opens
        self._sync()

    def _put_off(self, opens: list[Waiting], closes: list[Waiting]) -> None:
        _tell(opens, self.failure)
        self._closes.extendleft(reversed(closes))
        if self._closes:
            self._loop.call_later(RETRY_S, self._note)
        else:
            self._level()

    def _level(self) -> None:
        self._is_due = False
        if self._noted is not None:
            self._noted.set_result(None)
            self._noted = None

    def _sync(self) -> None:
        if self._unsynced and not self._is_syncing:
            self._is_syncing = True
            waiting, self._unsynced = self._unsynced, []
            self._jobs.put((self._journal.unsynced(), waiting))

    def _keep_in_sync(self) -> None:
        while (job := self._jobs.get()) is not None:
            files, waiting = job
            failure = None
            try:
                sync(files)
            except OSError as exc:
                failure = self.failure = exc.strerror or str(exc)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._synced, waiting, failure)

    def _synced(self, waiting: list[Waiting], failure: str | None) -> None:
        _tell(waiting, failure)
        self._is_syncing = False
        self._sync()

    # The thread of SQLite.

    def _keep_ledger(self) -> None:
        while True:
            self._applying.wait()
            self._is_urgent.wait(BEHIND_S)
            self._applying.clear()
            self._is_urgent.clear()
            is_last = self._is_closing and not self._threads[0].is_alive()
            is_level = self._catch_up()
            self._write_others()
            if is_last:
                break
            if not is_level or self._is_closing:
                self._is_urgent.wait(0.005 if self._is_closing else RETRY_S)
                self._applying.set()
        self._connection.close()
        self._journal.close()

    def _catch_up(self) -> bool:
        batches = list(self._behind)
        whole = Batch(
            [row for _, b in batches for row in b.opens], [row for _, b in batches for row in b.closes]
        )
        if self._run(lambda: fill(self._connection, whole)) is not None:
            return False
        for number, batch in batches:
            self._behind.popleft()
            self._applied_rows += len(batch.opens) + len(batch.closes)
            self._journal.applied(number)
        return True

    def _write_others(self) -> None:
        for statements, told in _take(self._others):
            failure = self._run(lambda: _execute(self._connection, statements))  # noqa: B023 run at once
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_tell, [(statements, told)], failure)

    def _run(self, work: Callable[[], None]) -> str | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            work()
            self._connection.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 a bug in one write must not end the thread that writes all
            self._roll_back(exc)
            return self.failure
        self.failure = ""
        return None

    def _roll_back(self, exc: Exception) -> None:
        if not isinstance(exc, sqlite3.Error):
            log.error("a write to the ledger failed", exc_info=exc)
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self.failure = str(exc)


def _take(queue: deque[Waiting]) -> list[Waiting]:
    return [queue.popleft() for _ in range(len(queue))]


def _execute(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    for sql, values in statements:
        connection.execute(sql, values)


def _tell(waiters: list[Waiting], failure: str | None) -> None:
    error = None
    if failure is not None:
        error = StoreFailed(f"the ledger cannot be written ({failure}); free the disk or its lock")
    for _, told in waiters:
        told(error)


def settle(done: asyncio.Future[None], error: StoreFailed | None) -> None:
    """End a future; with `partial` what a coroutine gives as `Told`."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
