"""
Accounts for development: they stand in `[[auth.dev_users]]` and sign in while `auth.dev_mode` is on.

Each has a row in the account table like any other, with the hash from the file, bcrypt or argon2. The file
is the truth: who leaves it, or gets another role or password there, is signed out everywhere, and so is
everybody here when the mode ends.
"""

from __future__ import annotations

import structlog
from sqlmodel import Session as Transaction
from sqlmodel import col, select

from oqto_platform.auth.tokens import Tokens
from oqto_platform.clock import now
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Auth, DevUser
from oqto_platform.db import Database
from oqto_platform.db.models import AccountRow
from oqto_platform.types import AccountId

log = structlog.get_logger("oqto.accounts")

PREFIX = "acc_dev_"


class DevAccounts:
    """Keeps the rows at what the file says. `sync` at the start and after each change."""

    def __init__(self, db: Database, live: Live, tokens: Tokens) -> None:
        self._db = db
        self._live = live
        self._tokens = tokens

    async def sync(self) -> None:
        """Make, change and close rows."""
        users = self._users()
        ended, taken = await self._db.write(lambda transaction: _sync(transaction, users))
        for account_id in ended:
            await self._tokens.revoke_all(account_id)
        for name in taken:
            log.warning("a development account has the name of another account", name=name)

    def _users(self) -> tuple[DevUser, ...]:
        auth = self._live.current.section("auth", Auth)
        return auth.dev_users if auth.dev_mode else ()


def _id(user: DevUser) -> AccountId:
    return AccountId(f"{PREFIX}{user.id}")


def _sync(transaction: Transaction, users: tuple[DevUser, ...]) -> tuple[list[str], list[str]]:
    """The ids of accounts whose sign-ins end, and the names that belong to others already."""
    query = select(AccountRow).where(col(AccountRow.id).startswith(PREFIX, autoescape=True))
    rows = {row.id: row for row in transaction.exec(query).all()}
    kept = {_id(user) for user in users}
    closed = [row.id for row in rows.values() if row.is_active and row.id not in kept]
    for account_id in closed:
        rows[account_id].is_active = False
    taken = [user for user in users if _belongs_to_another(transaction, user)]
    changed = [
        _id(user) for user in users if user not in taken and _put(transaction, rows.get(_id(user)), user)
    ]
    return closed + changed, [user.name for user in taken]


def _belongs_to_another(transaction: Transaction, user: DevUser) -> bool:
    query = select(AccountRow.id).where(AccountRow.name_key == user.name.casefold())
    return transaction.exec(query).first() not in (None, _id(user))


def _put(transaction: Transaction, row: AccountRow | None, user: DevUser) -> bool:
    """Write the row; whether sign-ins that were made before must end."""
    hashed = user.password_hash.reveal()
    is_other = row is not None and (row.role, row.password_hash, row.is_active) != (user.role, hashed, True)
    row = row or AccountRow(id=_id(user), name="", name_key="", password_hash="", created_at=now())
    row.name, row.name_key, row.email = user.name, user.name.casefold(), user.email
    row.role, row.password_hash, row.is_active = user.role, hashed, True
    transaction.add(row)
    return is_other
