"""
One Alembic history and one version table per owner: the core, and each plugin with tables.

A shared version table would break every later upgrade once a plugin is uninstalled. Files are named
`NNNN_what.py` and their revision is `<owner>NNNN`, so that an up-to-date database is recognised without
importing Alembic.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine, MetaData, inspect, text

from oqto_platform import slim
from oqto_platform.clock import now
from oqto_platform.errors import ConfigError

log = structlog.get_logger("oqto.db")
HERE = Path(__file__).parent / "migrations"


class Owner(msgspec.Struct, frozen=True):
    """Whose tables: `name` is `core` or the plugin's, `versions` the folder of its history."""

    name: str
    versions: Path
    metadata: MetaData


def upgrade(engine: Engine, path: Path, owners: list[Owner]) -> None:
    """
    Bring every owner's tables to the newest version; the file is backed up before the first change.

    Safe when several workers start at once. Raises `ConfigError` for a database of a newer version.
    """
    with _lock(path.with_suffix(".migrating")):
        behind = [owner for owner in owners if _current(engine, owner) != _newest(owner)]
        for owner in behind:
            _refuse_newer(engine, owner, path)
        if behind and inspect(engine).get_table_names():
            _back_up(path)
        for owner in behind:
            _upgrade(engine, owner)


def _newest(owner: Owner) -> str | None:
    files = sorted(owner.versions.glob("[0-9][0-9][0-9][0-9]_*.py"))
    return f"{owner.name}{files[-1].name[:4]}" if files else None


def _current(engine: Engine, owner: Owner) -> str | None:
    table = f"{owner.name}_version"
    with engine.connect() as connection:
        if not inspect(connection).has_table(table):
            return None
        return connection.execute(text(f"select version_num from {table}")).scalar()  # noqa: S608 (a plugin's name)


def _refuse_newer(engine: Engine, owner: Owner, path: Path) -> None:
    current, newest = _current(engine, owner), _newest(owner)
    if current is not None and newest is not None and current > newest:
        raise ConfigError(
            f"{path}: tables of {owner.name} have version {current}, newer than this program's {newest}; "
            "install the newer version, or restore the backup beside the file"
        )


def _upgrade(engine: Engine, owner: Owner) -> None:
    command = _command()
    log.info("upgrading tables", owner=owner.name)
    with engine.begin() as connection:
        # The driver opens no transaction by itself, and a migration that breaks must leave nothing behind.
        connection.exec_driver_sql("begin immediate")
        command.upgrade(alembic_config(connection, owner), "head")


def _command() -> Any:
    """
    Alembic without the databases that we do not have: they are two thirds of it, and the first start waits for it.

    `alembic.ddl` imports all its dialects by name. Ours, SQLite, is real; of the others nothing is ever called.
    """
    with ExitStack() as stack:
        stack.enter_context(slim.without("pygments"))
        for dialect in ("mssql", "mysql", "oracle", "postgresql"):
            stack.enter_context(slim.hollow(f"alembic.ddl.{dialect}"))
        return import_module("alembic.command")


def alembic_config(connection: Any, owner: Owner) -> Any:
    """Alembic's configuration for one owner, with the shared `env.py`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("version_locations", str(owner.versions))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, owner=owner.name, metadata=owner.metadata)
    return config


def _back_up(path: Path) -> None:
    target = path.with_name(f"{path.stem}.{int(now())}.bak")
    target.touch(mode=0o600)
    with sqlite3.connect(path) as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    log.info("database backed up", file=str(target))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
