"""
The ledger's file: SQLite in WAL mode, written behind a journal.

Rows of calls are durable once the journal has them (`open_row`, `close_row`); all that wait share one write to
the disk. They reach SQLite in larger batches a moment later, most of them once, already settled. Everything
else (`write`) goes to SQLite at once. What fails for one writer never takes the others along, and a full or
locked disk is told to whoever waits.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from oqto_platform.errors import OqtoError

from .journal import Batch, Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BUSY_MS = 3_000
RETRY_S = 0.5
GATHER_S = 0.004
CROWD = 4
"""From this many rows on, the next batch waits a moment for company: fewer wake-ups, an eighth less CPU."""
BEHIND_S = 0.25
BEHIND_LIMIT = 50_000
"""Rows that may wait for a SQLite that is locked or full; then no call may leave."""
BLOCK = 64
CLOSE_S = 2.0
Statement = tuple[str, tuple[Any, ...]]
Waiting = tuple[tuple[Any, ...], asyncio.Future[None]]
Job = tuple[list[Waiting], list[Waiting]]

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
        self._others: deque[Waiting] = deque()
        self._behind: deque[tuple[int, Batch]] = deque()
        self._behind_rows = 0
        self._connection = _connect(path, is_durable=is_durable)
        self._journal = Journal(path, is_durable=is_durable)
        _apply(self._connection, self._journal.recover())
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._is_writing = self._is_due = False
        self._applying = threading.Event()
        self._is_urgent, self._is_closing = threading.Event(), False
        self._newest: asyncio.Future[None] | None = None
        self._threads = [
            threading.Thread(target=work, name=f"ledger-{name}", daemon=True)
            for name, work in (("journal", self._keep_journal), ("writer", self._keep_ledger))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many writes are queued."""
        return len(self._opens) + len(self._closes) + len(self._others)

    def open_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Write a pending call, `COLUMNS`; the future fails when the disk does."""
        return self._journaled(self._opens, row)

    def close_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Settle a call, its id and `OUTCOME`; tried again until the disk takes it."""
        return self._journaled(self._closes, row)

    def write(self, *statements: Statement) -> asyncio.Future[None]:
        """Run statements as one transaction of their own, after the rows that are durable by now."""
        done = self._loop.create_future()
        self._others.append((statements, done))
        self._is_urgent.set()
        self._applying.set()
        return done

    def _journaled(self, waiting: deque[Waiting], row: tuple[Any, ...]) -> asyncio.Future[None]:
        self._newest = done = self._loop.create_future()
        waiting.append((row, done))
        if not self._is_writing and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._submit)  # with all that this turn of the loop brings
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
        while (self._is_writing or self._opens or self._closes) and self._loop.time() < deadline:  # noqa: ASYNC110 the writer is a thread
            await asyncio.sleep(0.002)
        self._is_closing = True
        self._jobs.put(None)
        for event in (self._is_urgent, self._applying):
            event.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, CLOSE_S)

    # The journal: the loop gathers, a thread writes, one batch at a time.

    def _submit(self) -> None:
        self._is_due = False
        if self._is_writing or not (self._opens or self._closes):
            return
        # Taken in this order, so that a close taken now has its open taken now or before.
        closes, opens = _take(self._closes), _take(self._opens)
        self._is_writing = True
        self._jobs.put((opens, closes))

    def _keep_journal(self) -> None:
        while (job := self._jobs.get()) is not None:
            opens, closes = job
            failure = self._append(Batch([row for row, _ in opens], [row for row, _ in closes]))
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._written, opens, closes, failure)

    def _append(self, batch: Batch) -> str | None:
        if batch.opens and self._behind_rows > BEHIND_LIMIT:
            return self.failure or "SQLite is behind"
        try:
            number = self._journal.append(batch)
        except OSError as exc:
            self.failure = exc.strerror or str(exc)
            return self.failure
        self._behind.append((number, batch))
        self._behind_rows += len(batch.opens) + len(batch.closes)
        self._applying.set()
        return None

    def _written(self, opens: list[Waiting], closes: list[Waiting], failure: str | None) -> None:
        self._is_writing = False
        _tell(opens, failure)
        if failure is None:
            _tell(closes, None)
            pause = GATHER_S if len(opens) + len(closes) >= CROWD else 0.0
        else:
            self._closes.extendleft(reversed(closes))
            pause = RETRY_S if closes else 0.0
        if (self._opens or self._closes) and not self._is_due:
            self._is_due = True
            self._loop.call_later(pause, self._submit)

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
            self._behind_rows -= len(batch.opens) + len(batch.closes)
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
