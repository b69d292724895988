"""
A worker's database and services, put together.

Imported while the worker opens, not before: SQLModel and SQLAlchemy are two fifths of all that a start loads.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from oqto_platform import contributions
from oqto_platform.access import Access
from oqto_platform.accounts.dev import DevAccounts
from oqto_platform.accounts.service import Accounts
from oqto_platform.auth.throttle import Throttle
from oqto_platform.auth.tokens import Epoch, Tokens, signing_secret
from oqto_platform.config.sections import Auth
from oqto_platform.db import Database, migrate, models
from oqto_platform.errors import ConfigError
from oqto_platform.mux.news import News, Newsroom
from oqto_platform.services import Services
from oqto_platform.sessions.reconcile import Reconciler
from oqto_platform.sessions.service import Sessions
from oqto_platform.sessions.store import Store
from oqto_platform.types import Identity
from oqto_platform.workspaces.service import Workspaces

if TYPE_CHECKING:
    from oqto_platform.house import House

REPAIR = "bring the newest backup back (*.bak beside it, or your own), or give the file to the account of the server"


def open_database(house: House, threads: int) -> Database:
    """The database, with the tables of this version. Raises `ConfigError` for one of a newer version."""
    path = Path(house.env.get("OQTO_DATABASE_PATH") or house.data_dir / "oqto.db")
    owners = [
        migrate.Owner("core", migrate.HERE / "versions", models.metadata),
        *contributions.tables(house.hooks),
    ]
    try:
        db = Database(path, threads)
        migrate.upgrade(db.engine, path, owners)
    except (OSError, DBAPIError) as exc:
        reason = exc.orig if isinstance(exc, DBAPIError) else exc.strerror
        raise ConfigError(f"the database {path} cannot be opened: {reason}; {REPAIR}") from exc
    return db


def make_services(house: House) -> Services:
    """Everything a handler may ask for, on the database of the house."""
    tokens = _tokens(house)
    access, accounts, store = Access(house.hooks), Accounts(house.db), Store(house.db)
    reconciler = Reconciler(store, house.hooks, house.live, house.runner_of)
    sessions = Sessions(store, accounts, house.hooks, house.live, access, reconciler, house.runner_of)
    return Services(
        hooks=house.hooks,
        live=house.live,
        panels=house.panels,
        db=house.db,
        audit=house.audit,
        access=access,
        accounts=accounts,
        dev_accounts=DevAccounts(house.db, house.live, tokens),
        tokens=tokens,
        throttle=Throttle(),
        sessions=sessions,
        newsroom=Newsroom(partial(_news, sessions, house.db)),
        workspaces=Workspaces(house.db, access, house.live, house.hooks, accounts, house.runner_of),
        reconciler=reconciler,
        registry=house.registry,
        reloading=house.reloading,
        runner=house.runner_of("admin-socket"),
        start=house.start,
        state_dir=house.state_dir,
        farewell=house.farewell,
        version=installed_version("oqto-platform"),
        mode="personal" if house.is_personal else "server",
    )


def _news(sessions: Sessions, db: Database, identity: Identity) -> News:
    return News(partial(sessions.list, identity), sessions.runner_of(identity), db.changes.after)


def _tokens(house: House) -> Tokens:
    auth = house.settings.section("auth", Auth)
    secret = signing_secret(auth.jwt_secret, house.state_dir, dev_mode=auth.dev_mode)

    def sign_in_s() -> float:
        return house.settings.section("auth", Auth).session_hours * 3600

    return Tokens(house.db, secret, Epoch(house.state_dir / "token-epoch"), sign_in_s)
