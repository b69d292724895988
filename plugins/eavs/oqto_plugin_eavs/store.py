"""
The ledger's file: SQLite in WAL mode behind one writer thread that commits in batches.

A future from `write` is done once its statements are durable. What fails for one writer never takes the
others of its batch along, and a full or locked disk is told to whoever waits.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform.errors import OqtoError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUSY_MS = 3_000
RETRY_S = 0.5
GATHER_S = 0.001
CROWD = 4
"""From this many rows on, the next batch waits a moment for company."""
Statement = tuple[str, tuple[Any, ...]]
Waiting = tuple[tuple[Any, ...], asyncio.Future[None]]

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
OPEN = (
    f"INSERT INTO calls ({', '.join(COLUMNS)}, state) SELECT "  # noqa: S608 fixed words
    + ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(COLUMNS)))
    + ", 'pending' FROM json_each(?)"
)
CLOSE = (
    "UPDATE calls SET state = 'settled', "  # noqa: S608 fixed words
    + ", ".join(f"{name} = json_extract(value, '$[{at}]')" for at, name in enumerate(OUTCOME, start=1))
    + " FROM json_each(?) WHERE calls.id = json_extract(value, '$[0]') AND calls.state = 'pending'"
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
        self._wake = threading.Event()
        self._is_closing = False
        self._connection = _connect(path, is_durable=is_durable)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many writes are queued."""
        return len(self._opens) + len(self._closes) + len(self._others)

    def open_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Write a pending call, `COLUMNS`; the future fails when the disk does."""
        return self._queue(self._opens, row)

    def close_row(self, row: tuple[Any, ...]) -> asyncio.Future[None]:
        """Settle a call, its id and `OUTCOME`; tried again until the disk takes it."""
        return self._queue(self._closes, row)

    def write(self, *statements: Statement) -> asyncio.Future[None]:
        """Run statements as one transaction of their own."""
        return self._queue(self._others, statements)

    def _queue(self, queue: deque[Waiting], what: tuple[Any, ...]) -> asyncio.Future[None]:
        done = self._loop.create_future()
        queue.append((what, done))
        self._wake.set()
        return done

    async def flush(self, timeout_s: float) -> bool:
        """Wait until what was queued before is on disk; whether it is."""
        deadline = self._loop.time() + timeout_s
        while self._closes and self._loop.time() < deadline:  # noqa: ASYNC110 the writer is a thread
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(timeout_s):
                await self.write()
        except (TimeoutError, StoreFailed):
            return False
        return not self._closes

    async def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, from a connection of its own."""
        return await asyncio.to_thread(self._read, sql, values)

    def _read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, timeout=BUSY_MS / 1000)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    async def close(self) -> None:
        """Write what is queued and close the file."""
        self._is_closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, 2.0)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            rows = self._rows()
            while self._others:
                statements, done = self._others.popleft()
                self._answer([done], self._execute(statements))
            if self._is_closing:
                self._connection.close()
                return
            if rows >= CROWD:
                time.sleep(GATHER_S)

    def _rows(self) -> int:
        """Write the calls that were queued, opened ones first, in one transaction."""
        # Taken in this order, so that a close taken now has its open taken now or before.
        closes = _take(self._closes)
        opens = _take(self._opens)
        if not opens and not closes:
            return 0
        statements = [(sql, (_json(batch),)) for sql, batch in ((OPEN, opens), (CLOSE, closes)) if batch]
        failure = self._execute(statements)
        self._answer([done for _, done in opens], failure)
        if failure is None:
            self._answer([done for _, done in closes], None)
        else:
            self._keep(closes)
        return len(opens) + len(closes)

    def _keep(self, closes: list[Waiting]) -> None:
        self._closes.extendleft(reversed(closes))
        if closes and not self._is_closing:
            threading.Timer(RETRY_S, self._wake.set).start()

    def _execute(self, statements: Sequence[Statement]) -> sqlite3.Error | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                self._connection.execute(sql, values)
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.failure = str(exc)
            return exc
        self.failure = ""
        return None

    def _answer(self, waiters: list[asyncio.Future[None]], failure: sqlite3.Error | None) -> None:
        if waiters and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_tell, waiters, failure)


def _take(queue: deque[Waiting]) -> list[Waiting]:
    return [queue.popleft() for _ in range(len(queue))]


def _json(batch: list[Waiting]) -> str:
    return msgspec.json.encode([row for row, _ in batch]).decode()


def _tell(waiters: list[asyncio.Future[None]], failure: sqlite3.Error | None) -> None:
    for done in waiters:
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
