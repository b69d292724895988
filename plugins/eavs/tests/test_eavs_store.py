"""The ledger's file and its journal: what is durable when, and what a disk may do."""

from __future__ import annotations

import asyncio
import errno
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs import journal, store
from oqto_plugin_eavs.store import Store
from oqto_plugin_eavs.tables import StoreFailed

OPEN = ("w", "acc", "", "key", "p", "m", "chat", "p:m", 100, 1.0)
CLOSE = ("done", 200, 7, 0, 1, 0, 0, 0, 2, 0, 0, 2.0)


def saved(path):
    connection = sqlite3.connect(path / "ledger.db")
    try:
        return dict(connection.execute("SELECT id, state || cost_nusd FROM calls"))
    finally:
        connection.close()


def crash_image(path, copy):
    """What a machine that stops now leaves behind."""
    for file in path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())


async def test_rows_are_in_the_journal_before_their_futures_and_in_the_ledger_after_a_flush(tmp_path):
    running = Store(tmp_path / "ledger.db")
    await running.open_row(("a", *OPEN))
    assert b'"a"' in (tmp_path / "ledger.journal-0").read_bytes()
    await running.open_row(("b", *OPEN))
    await running.close_row(("a", *CLOSE))
    assert await running.flush(5)
    assert saved(tmp_path) == {"a": "settled7", "b": "pending0"}
    await running.close_row(("b", *CLOSE))
    await running.close()
    assert saved(tmp_path) == {"a": "settled7", "b": "settled7"}
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]


async def test_a_stop_at_any_moment_loses_nothing_that_was_told(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BEHIND_S", 60.0)
    (copy := tmp_path / "copy").mkdir()
    (work := tmp_path / "work").mkdir()
    running = Store(work / "ledger.db")
    for name in "abc":
        await running.open_row((name, *OPEN))
    await running.close_row(("a", *CLOSE))
    await running.flush(5)
    await running.close_row(("b", *CLOSE))
    await running.open_row(("d", *OPEN))
    crash_image(work, copy)
    await running.close()
    again = Store(copy / "ledger.db")
    assert saved(copy) == {"a": "settled7", "b": "settled7", "c": "pending0", "d": "pending0"}
    await again.close()


@given(torn=st.binary(max_size=40), cut=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_a_line_that_a_power_cut_tore_is_skipped(tmp_path_factory, torn, cut):
    folder = tmp_path_factory.mktemp("torn")
    book = journal.Journal(folder / "ledger.db", is_durable=False)
    book.append(journal.Batch([("a", *OPEN)], []))
    good = (folder / "ledger.journal-0").read_bytes().partition(b"\0")[0]
    (folder / "ledger.journal-0").write_bytes(good + good[:cut].replace(b"\n", b"") + torn)
    assert [row[0] for row in book.recover().opens if row[0] == "a"][:1] == ["a"]
    book.close()


async def test_the_journal_does_not_grow_and_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SIZE", 4096)
    running = Store(tmp_path / "ledger.db", is_durable=False)
    for number in range(300):
        await running.open_row((f"r{number}", *OPEN))
        await running.close_row((f"r{number}", *CLOSE))
        if number % 10 == 0:
            await running.flush(5)
    sizes = [file.stat().st_size for file in tmp_path.glob("*.journal-*")]
    await running.close()
    assert max(sizes) < 16_384
    assert list(saved(tmp_path).values()) == ["settled7"] * 300


async def test_a_locked_ledger_delays_rows_and_then_stops_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BEHIND_LIMIT", 3)
    monkeypatch.setattr(store, "RETRY_S", 0.02)
    monkeypatch.setattr(store, "BEHIND_S", 0.01)
    running = Store(tmp_path / "ledger.db", is_durable=False)
    running._connection.execute("PRAGMA busy_timeout=20")
    blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for name in "abcd":
        await running.open_row((name, *OPEN))
    while "locked" not in running.failure:
        await asyncio.sleep(0.01)
    with pytest.raises(StoreFailed, match="locked"):
        await running.open_row(("e", *OPEN))
    await running.close_row(("a", *CLOSE))
    blocker.execute("ROLLBACK")
    blocker.close()
    while running.failure:
        await asyncio.sleep(0.01)
    await running.open_row(("f", *OPEN))
    await running.close()
    assert saved(tmp_path) == {"a": "settled7", **dict.fromkeys("bcdf", "pending0")}


async def test_a_full_disk_stops_calls_and_keeps_bills_until_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RETRY_S", 0.02)
    running = Store(tmp_path / "ledger.db", is_durable=False)
    await running.open_row(("a", *OPEN))
    write = journal._write

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_write", full)
    billed = running.close_row(("a", *CLOSE))
    with pytest.raises(StoreFailed, match="No space left"):
        await running.open_row(("b", *OPEN))
    assert not billed.done()
    monkeypatch.setattr(journal, "_write", write)
    await billed
    await running.open_row(("c", *OPEN))
    await running.close()
    assert saved(tmp_path) == {"a": "settled7", "c": "pending0"}


async def test_a_write_that_sqlite_cannot_take_fails_alone(tmp_path):
    running = Store(tmp_path / "ledger.db")
    with pytest.raises(StoreFailed, match="too large"):
        await running.write(("CREATE TABLE t (n)", ()), ("INSERT INTO t VALUES (?)", (2**70,)))
    await running.write(("CREATE TABLE t (n)", ()))
    await running.open_row(("a", *OPEN))
    assert (await running.flush(5), running.failure) == (True, "")
    await running.close()


async def test_a_row_that_no_table_holds_stops_neither_the_ledger_nor_the_next_start(tmp_path):
    (copy := tmp_path / "copy").mkdir()
    (work := tmp_path / "work").mkdir()
    running = Store(work / "ledger.db")
    await running.open_row(("vast", *OPEN[:-2], 2**70, 1.0))
    await running.close_row(("vast", "done", 200, -(2**70), *CLOSE[3:]))
    await running.open_row(("b", *OPEN))
    crash_image(work, copy)
    assert await running.flush(5)
    await running.close()
    again = Store(copy / "ledger.db")
    assert saved(copy) == saved(work) == {"vast": f"settled{-(10**15)}", "b": "pending0"}
    await again.close()
