"""Accounts: making the first one, signing in, changing the password."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session as Transaction
from sqlmodel import func, select

from oqto_platform.auth import passwords
from oqto_platform.clock import now
from oqto_platform.db import Database
from oqto_platform.db.models import AccountRow, SetupLinkRow
from oqto_platform.errors import Conflict, Forbidden, Invalid, NotFound
from oqto_platform.types import Account, AccountId, Identity, Role, new_id

NAME = re.compile(r"[^\W_][\w .@+-]{0,63}")


class Accounts:
    """The account table, as Structs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def count(self) -> int:
        return await self._db.read(lambda t: t.exec(select(func.count()).select_from(AccountRow)).one())

    async def get(self, account_id: str) -> Account:
        """Raises `NotFound`."""
        row = await self._db.read(lambda t: t.get(AccountRow, account_id))
        if row is None:
            raise NotFound("this account does not exist any more")
        return _account(row)

    async def password_hash(self, name: str) -> tuple[Account, str, int] | None:
        """The active account of that name with its hash and token generation."""
        row = await self._db.read(lambda t: _by_name(t, name))
        return (_account(row), row.password_hash, row.token_generation) if row and row.is_active else None

    async def name_of(self, name: str) -> str:
        """The name of the account that `name` means; empty when there is none."""
        row = await self._db.read(lambda t: _by_name(t, name))
        return row.name if row else ""

    async def generation(self, account_id: str) -> int:
        """The generation that a new token of the account must carry."""
        row = await self._db.read(lambda t: t.get(AccountRow, account_id))
        if row is None or not row.is_active:
            raise NotFound("this account does not exist any more")
        return row.token_generation

    async def create(self, name: str, password: str, role: Role) -> Account:
        """Raises `Invalid` for the name or password, `Conflict` when the name is taken."""
        row = _new_row(_checked_name(name), await passwords.hash_password(password), role)
        try:
            await self._db.write(lambda t: t.add(row))
        except IntegrityError as exc:
            raise Conflict(f"name: {name!r} is taken", field="name") from exc
        return _account(row)

    async def vouched_for(self, identity: Identity) -> Account:
        """
        The account of somebody whom a plugin has authenticated.

        Without an id it is the one of that name, made now when there is none: it has the role that the plugin
        says, and no password fits it. Raises `Forbidden` for an account that is switched off.
        """
        if identity.account_id:
            return await self.get(identity.account_id)
        fresh = _new_row(_checked_name(identity.name), "", identity.role)

        def find_or_make(transaction: Transaction) -> AccountRow:
            found = _by_name(transaction, identity.name)
            if found is None:
                transaction.add(fresh)
            return found or fresh

        row = await self._db.write(find_or_make)
        if not row.is_active:
            raise Forbidden("this account is switched off; ask whoever runs this server")
        return _account(row)

    async def signed_in(self, account_id: str) -> None:
        """Note the time of a sign-in."""

        def note(transaction: Transaction) -> None:
            if row := transaction.get(AccountRow, account_id):
                row.last_sign_in_at = now()

        await self._db.write(note)

    async def set_password(self, account_id: str, current: str, new: str) -> None:
        """Raises `Forbidden` when `current` is wrong, `Invalid` when `new` will not do."""
        row = await self._db.read(lambda t: t.get(AccountRow, account_id))
        if not await passwords.is_right(current, row.password_hash if row else None):
            raise Forbidden("current: this is not your password", field="current")
        hashed = await passwords.hash_password(new)

        def change(transaction: Transaction) -> None:
            if found := transaction.get(AccountRow, account_id):
                found.password_hash = hashed

        await self._db.write(change)

    async def new_setup_link(self) -> str | None:
        """A token for the link that makes the first account; `None` once there is an account."""
        token = secrets.token_urlsafe(24)

        def replace(transaction: Transaction) -> bool:
            if transaction.exec(select(AccountRow.id).limit(1)).first():
                return False
            transaction.merge(SetupLinkRow(id=1, token_hash=_hash(token), created_at=now()))
            return True

        return token if await self._db.write(replace) else None

    async def create_first(self, token: str, name: str, password: str) -> Account:
        """
        Make the admin and burn the link, in one transaction: of two that race, one wins.

        Raises `Forbidden` for a wrong or used link.
        """
        row = _new_row(_checked_name(name), await passwords.hash_password(password), "admin")

        def burn(transaction: Transaction) -> None:
            link = transaction.get(SetupLinkRow, 1)
            if link is None or not hmac.compare_digest(link.token_hash, _hash(token)):
                raise Forbidden(
                    "this link does not hold (any more); sign in, or start the server again for a new one"
                )
            transaction.delete(link)
            transaction.add(row)

        await self._db.write(burn)
        return _account(row)


def _account(row: AccountRow) -> Account:
    return Account(
        id=AccountId(row.id), name=row.name, role="admin" if row.role == "admin" else "user", email=row.email
    )


def _new_row(name: str, password_hash: str, role: Role) -> AccountRow:
    return AccountRow(
        id=new_id("acc"),
        name=name,
        name_key=name.casefold(),
        role=role,
        password_hash=password_hash,
        created_at=now(),
    )


def _by_name(transaction: Transaction, name: str) -> AccountRow | None:
    return transaction.exec(select(AccountRow).where(AccountRow.name_key == name.strip().casefold())).first()


def _checked_name(name: str) -> str:
    name = name.strip()
    if not NAME.fullmatch(name):
        raise Invalid("name: use 1 to 64 letters, digits, spaces or . @ + - _", field="name")
    return name


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
