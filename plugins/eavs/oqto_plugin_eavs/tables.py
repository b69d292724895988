"""The ledger's tables in SQLite, and how rows of calls come into them."""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import TYPE_CHECKING, Any

from oqto_platform.errors import OqtoError

if TYPE_CHECKING:
    from pathlib import Path

    from .journal import Batch

BUSY_MS = 3_000
BLOCK = 64
MOST = 10**15
"""What a number of a row that SQLite could not hold becomes; sums of such still fit."""
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


def connect(path: Path, *, is_durable: bool) -> sqlite3.Connection:
    """Open a ledger, made or brought up to date. Raises `StoreFailed` for one of a newer version."""
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


def bring_in(connection: sqlite3.Connection, found: Batch) -> None:
    """What a journal held, at a start."""
    connection.execute("BEGIN IMMEDIATE")
    fill(connection, found)
    connection.execute("COMMIT")


def fill(connection: sqlite3.Connection, batch: Batch) -> None:
    """Bring rows into the ledger; doing it twice changes nothing."""
    try:
        _fill(connection, batch)
    except OverflowError:  # a row that fits no table would stand before all others, also at each start
        batch.opens, batch.closes = [_fitting(r) for r in batch.opens], [_fitting(r) for r in batch.closes]
        _fill(connection, batch)


def _fitting(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(max(-MOST, min(value, MOST)) if isinstance(value, int) else value for value in row)


def _fill(connection: sqlite3.Connection, batch: Batch) -> None:
    opens = {row[0]: row for row in batch.opens}
    settled, closes = [], []
    for close in batch.closes:
        if (opened := opens.pop(close[0], None)) is not None:
            settled.append((*opened, "settled", *close[1:]))
        else:
            closes.append((*close[1:], close[0]))
    for at in range(0, len(settled), BLOCK):
        block = settled[at : at + BLOCK]
        connection.execute(SETTLED % ", ".join([ONE] * len(block)), [*chain.from_iterable(block)])
    connection.executemany(PENDING, opens.values())
    connection.executemany(CLOSE, closes)
