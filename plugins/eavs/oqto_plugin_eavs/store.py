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
from typing import TYPE_CHECKING, Any

from oqto_platform.errors import OqtoError

from .journal import Batch, Journal, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BUSY_MS = 3_000
RETRY_S = 0.5
GATHER_S = 0.008
CROWD = 4
"""From this many calls on, the next sync waits a moment for company: fewer wake-ups, a tenth less CPU."""
BEHIND_S = 0.25
BEHIND_LIMIT = 50_000
"""Rows that may wait for a SQLite that is locked or full; then no call may leave."""
BLOCK = 64
CLOSE_S = 2.0
Statement = tuple[str, tuple[Any, ...]]
Waiting = tuple[tuple[Any, ...], asyncio.Future[None]]
Job = tuple[list[int], list[Waiting]]

COLUMNS = [
    "id",
    "wallet",
    "account",
    "workspace",
    "key_id",
    "provider",
    "model",
    "dialect",
    "priced_as",
    "hold_nusd",
    "started_at",
]
OUTCOME = [
    "outcome",
    "status",
    "cost_nusd",
    "is_estimated",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "web_searches",
    "ended_at",
]
ALL = [*COLUMNS, "state", *OUTCOME]
ONE = f"({', '.join('?' * len(ALL))})"
PENDING = f"INSERT OR IGNORE INTO calls ({', '.join(COLUMNS)}, state) VALUES ({', '.join('?' * len(COLUMNS))}, 'pending')"  # noqa: S608 fixed words
SETTLED = (
    f"INSERT INTO calls ({', '.join(ALL)}) VALUES %s ON CONFLICT(id) DO UPDATE SET "  # noqa: S608 fixed words
    + ", ".join(f"{name} = excluded.{name}" for name in ("state", *OUTCOME))
    + " WHERE calls.state = 'pending'"
)
CLOSE = (
    f"UPDATE calls SET state = 'settled', {', '.join(f'{name} = ?' for name in OUTCOME)}"  # noqa: S608 fixed words
    " WHERE id = ? AND state = 'pending'"
)

SCHEMA = (
    """
    CREATE TABLE wallets (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, parent TEXT, name TEXT NOT NULL, reservation TEXT NOT NULL,
        limit_nusd INTEGER, window TEXT NOT NULL, created_at REAL NOT NULL
    );
    CREATE TABLE keys (
        hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, wallet TEXT NOT NULL REFERENCES wallets(id),
        name TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL, revoked_at REAL,
        rpm INTEGER, models TEXT NOT NULL, providers TEXT NOT NULL
    );
    CREATE INDEX keys_by_wallet ON keys(wallet);
    CREATE TABLE calls (
        id TEXT PRIMARY KEY, wallet TEXT NOT NULL, account TEXT NOT NULL, workspace TEXT NOT NULL, key_id TEXT NOT NULL,
        provider TEXT NOT NULL, model TEXT NOT NULL, dialect TEXT NOT NULL, priced_as TEXT NOT NULL,
        state TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT '', status INTEGER NOT NULL DEFAULT 0,
        hold_nusd INTEGER NOT NULL, cost_nusd INTEGER NOT NULL DEFAULT 0, is_estimated INTEGER NOT NULL DEFAULT 0,
        input INTEGER NOT NULL DEFAULT 0, cache_read INTEGER NOT NULL DEFAULT 0, cache_write INTEGER NOT NULL DEFAULT 0,
        cache_write_1h INTEGER NOT NULL DEFAULT 0, output INTEGER NOT NULL DEFAULT 0, reasoning INTEGER NOT NULL DEFAULT 0,
        web_searches INTEGER NOT NULL DEFAULT 0, started_at REAL NOT NULL, ended_at REAL
    ) WITHOUT ROWID;
    CREATE INDEX calls_by_wallet ON calls(wallet, started_at);
    CREATE TABLE providers (
        name TEXT PRIMARY KEY, source TEXT NOT NULL, body BLOB NOT NULL, secret BLOB NOT NULL, updated_at REAL NOT NULL
    );
    """,
    """
    ALTER TABLE wallets ADD COLUMN is_custom INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE wallets ADD COLUMN told TEXT NOT NULL DEFAULT '';
    ALTER TABLE wallets ADD COLUMN rates TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE keys ADD COLUMN grants TEXT NOT NULL DEFAULT '{}';
    CREATE INDEX calls_by_time ON calls(started_at);
    CREATE TABLE alerts (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, wallet TEXT NOT NULL, kind TEXT NOT NULL,
        name TEXT NOT NULL, account TEXT NOT NULL, session TEXT NOT NULL, percent INTEGER NOT NULL,
        spent_nusd INTEGER NOT NULL, limit_nusd INTEGER NOT NULL, window TEXT NOT NULL
    );
    """,
)
"""One script per version of the file; `PRAGMA user_version` counts how many ran."""


class StoreFailed(OqtoError):
    """The ledger cannot be written, so no call may leave."""

    code, status, title = "ledger-unavailable", 503, "Ledger unavailable"


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
        self._connection = _connect(path, is_durable=is_durable)
        self._journal = Journal(path, is_durable=is_durable)
        _apply(self._connection, self._journal.recover())
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._is_syncing = self._is_due = False
        self._applying = threading.Event()
        self._is_urgent, self._is_closing = threading.Event(), False
        self._newest: asyncio.Future[None] | None = None
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
        self._newest = done = self._loop.create_future()
        if self._noted_rows - self._applied_rows > BEHIND_LIMIT:
            _tell([(row, done)], self.failure or "SQLite is behind")
        else:
            self._opens.append((row, done))
            self._gather()
        return done

    def close_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Settle a call, its id and `OUTCOME`; done when a `kill -9` cannot undo it, tried again until it is."""
        self._newest = done = self._loop.create_future()
        self._closes.append((row, done))
        self._gather()
        return done

    def _gather(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._note)  # with all that this turn of the loop brings

    def write(self, *statements: Statement) -> asyncio.Future[None]:
        """Run statements as one transaction of their own, after the rows that are durable by now."""
        done = self._loop.create_future()
        self._others.append((statements, done))
        self._is_urgent.set()
        self._applying.set()
        return done

    async def flush(self, timeout_s: float) -> bool:
        """Wait until what was queued before is in the ledger; whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._newest is not None and not self._newest.done():
                    await asyncio.wait({self._newest})
                await self.write()
        except (TimeoutError, StoreFailed):
            return False
        return not self._closes and not self.failure

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
        self._is_due = False
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
        self._is_due = bool(closes)
        if closes:
            self._loop.call_later(RETRY_S, self._note)

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
        if len(waiting) >= CROWD:
            self._loop.call_later(GATHER_S, self._rested)
        else:
            self._rested()

    def _rested(self) -> None:
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
        if self._run(lambda: _fill(self._connection, whole)) is not None:
            return False
        for number, batch in batches:
            self._behind.popleft()
            self._applied_rows += len(batch.opens) + len(batch.closes)
            self._journal.applied(number)
        return True

    def _write_others(self) -> None:
        for statements, done in _take(self._others):
            failure = self._run(lambda: _execute(self._connection, statements))  # noqa: B023 run at once
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_tell, [(statements, done)], failure)

    def _run(self, work: Callable[[], None]) -> str | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            work()
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.failure = str(exc)
            return self.failure
        self.failure = ""
        return None


def _take(queue: deque[Waiting]) -> list[Waiting]:
    return [queue.popleft() for _ in range(len(queue))]


def _apply(connection: sqlite3.Connection, found: Batch) -> None:
    connection.execute("BEGIN IMMEDIATE")
    _fill(connection, found)
    connection.execute("COMMIT")


def _execute(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    for sql, values in statements:
        connection.execute(sql, values)


def _fill(connection: sqlite3.Connection, batch: Batch) -> None:
    """Bring rows into the ledger; doing it twice changes nothing."""
    opens = {row[0]: row for row in batch.opens}
    settled, closes = [], []
    for close in batch.closes:
        if (opened := opens.pop(close[0], None)) is not None:
            settled.append((*opened, "settled", *close[1:]))
        else:
            closes.append((*close[1:], close[0]))
    for at in range(0, len(settled), BLOCK):
        block = settled[at : at + BLOCK]
        connection.execute(SETTLED % ", ".join([ONE] * len(block)), [v for row in block for v in row])
    connection.executemany(PENDING, opens.values())
    connection.executemany(CLOSE, closes)


def _tell(waiters: list[Waiting], failure: str | None) -> None:
    for _, done in waiters:
        if done.done():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(
                StoreFailed(f"the ledger cannot be written ({failure}); free the disk or its lock")
            )


def _connect(path: Path, *, is_durable: bool) -> sqlite3.Connection:
    path.touch(mode=0o600, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={'FULL' if is_durable else 'NORMAL'}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(SCHEMA):
        raise StoreFailed(f"{path} was written by a newer version of oqto-eavs; install that version again")
    for number, script in enumerate(SCHEMA[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version={number}; COMMIT;")
    return connection
