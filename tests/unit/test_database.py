"""Transactions, two processes, a killed writer, and migrations."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest
from alembic import command
from sqlmodel import select, text

from oqto_platform.db import Database, migrate, models, open_engine
from oqto_platform.db.models import AccountRow
from oqto_platform.errors import ConfigError

CORE = migrate.Owner("core", migrate.HERE / "versions", models.metadata)


def row(name: str) -> AccountRow:
    return AccountRow(id=f"acc_{name}", name=name, name_key=name, password_hash="x", created_at=0)


def names(transaction) -> list[str]:
    return sorted(found.name for found in transaction.exec(select(AccountRow)).all())


async def test_a_write_is_there_for_every_reader(db):
    await db.write(lambda t: t.add(row("ada")))
    assert await db.read(names) == ["ada"]


async def test_an_exception_takes_the_whole_write_back(db):
    def half(transaction):
        transaction.add(row("ada"))
        transaction.flush()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await db.write(half)
    assert await db.read(names) == []
    await db.write(lambda t: t.add(row("bob")))
    assert await db.read(names) == ["bob"]


async def test_a_read_changes_nothing(db):
    await db.read(lambda t: t.add(row("ada")))
    assert await db.read(names) == []


async def test_writes_of_one_process_wait_for_each_other(db):
    await db.write(lambda t: t.add(row("ada")))

    def count_up(transaction):
        account = transaction.get(AccountRow, "acc_ada")
        account.token_generation += 1

    await asyncio.gather(*(db.write(count_up) for _ in range(50)))
    assert await db.read(lambda t: t.get(AccountRow, "acc_ada").token_generation) == 50


WRITER = """
import asyncio, sys
from pathlib import Path
from oqto_platform.db import Database
from oqto_platform.db.models import AccountRow

async def main():
    db = Database(Path(sys.argv[1]))
    def count_up(t):
        t.get(AccountRow, "acc_ada").token_generation += 1
    for _ in range(40):
        await db.write(count_up)
    await db.close()

asyncio.run(main())
"""


async def test_writers_of_two_processes_lose_nothing(db):
    await db.write(lambda t: t.add(row("ada")))
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(db.path), stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for writer in writers:
        _, errors = await asyncio.wait_for(writer.communicate(), 30)
        assert writer.returncode == 0, errors.decode()
    assert await db.read(lambda t: t.get(AccountRow, "acc_ada").token_generation) == 80


KILLED = """
import sys
from pathlib import Path
from oqto_platform.db import open_engine

engine = open_engine(Path(sys.argv[1]))
with engine.connect() as connection:
    connection.exec_driver_sql("begin immediate")
    connection.exec_driver_sql("update account set token_generation = 99")
    print("written", flush=True)
    sys.stdin.read()
"""


async def test_a_writer_killed_in_the_middle_leaves_the_old_state_and_no_lock(db):
    await db.write(lambda t: t.add(row("ada")))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(db.path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"written\n"
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    assert await db.read(lambda t: t.get(AccountRow, "acc_ada").token_generation) == 0
    await db.write(lambda t: t.add(row("bob")))
    assert await db.read(lambda t: t.exec(text("pragma integrity_check")).scalar()) == "ok"


async def test_a_row_refers_to_an_account_that_exists(db):
    from sqlalchemy.exc import IntegrityError

    orphan = models.WorkspaceRow(account_id="acc_none", path="/w", name="w", last_used_at=0)
    with pytest.raises(IntegrityError):
        await db.write(lambda t: t.add(orphan))


async def test_the_file_is_for_its_owner_only(db):
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(db.path.parent.stat().st_mode) == 0o700
    await db.write(lambda t: t.add(row("ada")))
    for path in db.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


# ---- migrations


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(tmp_path / "oqto.db")
    yield engine
    engine.dispose()


def backups(path):
    return sorted(path.parent.glob("*.bak"))


def test_the_tables_are_made_from_nothing_and_have_not_drifted(engine, tmp_path):
    path = tmp_path / "oqto.db"
    migrate.upgrade(engine, path, [CORE])
    with engine.connect() as connection:
        command.check(migrate.alembic_config(connection, CORE))
    assert backups(path) == []


def test_drift_would_be_seen(engine, tmp_path):
    from alembic.util import CommandError

    migrate.upgrade(engine, tmp_path / "oqto.db", [CORE])
    with engine.begin() as connection:
        connection.execute(text("alter table account add column forgotten text"))
    with engine.connect() as connection, pytest.raises(CommandError, match="forgotten"):
        command.check(migrate.alembic_config(connection, CORE))


def test_a_second_start_changes_nothing_and_needs_no_alembic(engine, tmp_path, monkeypatch):
    path = tmp_path / "oqto.db"
    migrate.upgrade(engine, path, [CORE])
    monkeypatch.setattr(migrate, "_upgrade", lambda *_: pytest.fail("upgraded again"))
    migrate.upgrade(engine, path, [CORE])
    assert backups(path) == []


NEXT = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "core0002", "core0001"

def upgrade():
    op.add_column("account", sa.Column("colour", sa.String()))
"""
BROKEN = (
    NEXT.replace(
        "def upgrade():\n", "def upgrade():\n    op.execute(\"insert into setup_link values (1, 'x', 0)\")\n"
    )
    + "    raise RuntimeError('half')\n"
)


def future(tmp_path, text):
    import shutil

    versions = tmp_path / "versions"
    shutil.copytree(CORE.versions, versions, ignore=shutil.ignore_patterns("__pycache__"))
    (versions / "0002_colour.py").write_text(text)
    return migrate.Owner("core", versions, models.metadata)


def test_before_a_change_the_file_is_backed_up(engine, tmp_path):
    path = tmp_path / "oqto.db"
    migrate.upgrade(engine, path, [CORE])
    with engine.begin() as connection:
        connection.execute(text("insert into setup_link values (1, 'old', 0)"))
    migrate.upgrade(engine, path, [future(tmp_path, NEXT)])
    (backup,) = backups(path)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with sqlite3.connect(backup) as copy:
        assert copy.execute("select version_num from core_version").fetchall() == [("core0001",)]
        assert copy.execute("select token_hash from setup_link").fetchall() == [("old",)]
        assert "colour" not in [column[1] for column in copy.execute("pragma table_info(account)")]
    copy.close()


def test_a_migration_that_breaks_leaves_the_old_version(engine, tmp_path):
    path = tmp_path / "oqto.db"
    migrate.upgrade(engine, path, [CORE])
    with pytest.raises(RuntimeError, match="half"):
        migrate.upgrade(engine, path, [future(tmp_path, BROKEN)])
    with engine.connect() as connection:
        assert connection.execute(text("select version_num from core_version")).scalar() == "core0001"
        assert connection.execute(text("select count(*) from setup_link")).scalar() == 0
    migrate.upgrade(engine, path, [CORE])


def test_a_database_of_a_newer_program_is_refused_untouched(engine, tmp_path):
    path = tmp_path / "oqto.db"
    migrate.upgrade(engine, path, [CORE])
    with engine.begin() as connection:
        connection.execute(text("update core_version set version_num = 'core0099'"))
    with pytest.raises(ConfigError) as refused:
        migrate.upgrade(engine, path, [CORE])
    assert refused.value.detail.startswith(
        f"{path}: tables of core have version core0099, newer than this program's core"
    )
    assert backups(path) == []
    with engine.connect() as connection:
        assert connection.execute(text("select version_num from core_version")).scalar() == "core0099"


STARTS = """
import sys
from pathlib import Path
from oqto_platform.db import migrate, models, open_engine

path = Path(sys.argv[1])
migrate.upgrade(open_engine(path), path, [migrate.Owner("core", migrate.HERE / "versions", models.metadata)])
"""


def test_workers_that_start_at_once_migrate_once(tmp_path):
    path = tmp_path / "oqto.db"
    workers = [
        subprocess.Popen([sys.executable, "-c", STARTS, str(path)], stderr=subprocess.PIPE) for _ in range(3)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors.decode()
    engine = open_engine(path)
    with engine.connect() as connection:
        command.check(migrate.alembic_config(connection, CORE))
    engine.dispose()
    assert backups(path) == []


async def test_close_waits_for_what_is_running(tmp_path):
    path = tmp_path / "oqto.db"
    database = Database(path)
    migrate.upgrade(database.engine, path, [CORE])
    writing = [asyncio.ensure_future(database.write(lambda t, n=n: t.add(row(f"n{n}")))) for n in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writing)
    again = Database(path)
    assert len(await again.read(names)) == 20
    await again.close()


async def test_as_many_read_at_once_as_the_pool_has_threads(tmp_path):
    db, started, go = Database(tmp_path / "oqto.db", readers=2), threading.Semaphore(0), threading.Event()

    def work(_transaction):
        started.release()
        assert go.wait(30)

    reading = [asyncio.create_task(db.read(work)) for _ in range(3)]
    for _ in range(2):
        assert await asyncio.to_thread(started.acquire, timeout=30)
    assert not started.acquire(blocking=False)
    go.set()
    await asyncio.gather(*reading)
    await db.close()


async def test_commits_of_every_process_are_heard_of_and_none_is_missed(db):
    seen = await db.changes.after(0)
    waiting = [asyncio.create_task(db.changes.after(seen)) for _ in range(3)]
    await db.write(lambda t: t.add(row("ada")))
    assert {await asyncio.wait_for(one, 10) for one in waiting} == {seen + 1}
    with sqlite3.connect(db.path) as other:
        other.execute("update account set role = 'admin'")
    # Nobody waited meanwhile.
    assert await asyncio.wait_for(db.changes.after(seen + 1), 10) == seen + 2
    assert await asyncio.wait_for(db.changes.after(seen), 10) == seen + 2
