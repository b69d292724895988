"""Rules about tables: the prefix, migrations from nothing, no difference between models and migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks
from oqto_platform.testing.inspection import Report


def open_database(report: Report, hooks: Hooks, root: Path) -> Any:
    """A database with the tables of the core and of the plugin."""
    from oqto_platform import contributions
    from oqto_platform.db import Database, migrate, models

    path = root / "oqto.db"
    db = Database(path)
    owners = [migrate.Owner("core", migrate.HERE / "versions", models.metadata)]
    try:
        owners += contributions.tables(hooks)
        migrate.upgrade(db.engine, path, owners)
    except OqtoError as exc:
        report.say("tables", exc.detail)
    except Exception as exc:  # noqa: BLE001 (a migration of a plugin may raise anything)
        report.say("tables", f"the migrations fail on an empty database: {type(exc).__name__}: {exc}")
    else:
        _check(report, db, owners)
    return db


def _check(report: Report, db: Any, owners: list[Any]) -> None:
    from alembic import command
    from alembic.util import CommandError
    from sqlalchemy import inspect

    from oqto_platform.db import migrate

    ours = {f"{owner.name}_version" for owner in owners} | set(owners[0].metadata.tables)
    for table in set(inspect(db.engine).get_table_names()) - ours:
        if not table.startswith(f"{report.plugin}_"):
            report.say("tables", f"a migration makes the table {table!r}; name it {report.plugin}_{table}")
    for owner in owners[1:]:
        with db.engine.connect() as connection:
            try:
                command.check(migrate.alembic_config(connection, owner))
            except CommandError as exc:
                report.say("tables", f"models and migrations differ: {exc}")
