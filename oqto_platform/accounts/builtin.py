"""The built-in ways to sign in, as plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from oqto_platform.auth import passwords
from oqto_platform.config.sections import Auth
from oqto_platform.hooks import hookimpl
from oqto_platform.settings import Settings
from oqto_platform.types import Credentials, Identity

if TYPE_CHECKING:
    from oqto_platform.accounts.dev import DevAccounts
    from oqto_platform.accounts.service import Accounts


class PasswordSignIn:
    """Answers `authenticate` from the account table; as slow for names that do not exist."""

    def __init__(self, accounts: Callable[[], Accounts]) -> None:
        self._accounts = accounts

    @hookimpl(trylast=True)
    async def authenticate(self, credentials: Credentials) -> Identity | None:
        found = await self._accounts().password_hash(credentials.name)
        if not await passwords.is_right(credentials.password, found[1] if found else None) or not found:
            return None
        account = found[0]
        return Identity(account_id=account.id, name=account.name, role=account.role, door="password")


class DevAccountsFollow:
    """Keeps the accounts of `auth.dev_users` at what the file says."""

    def __init__(self, accounts: Callable[[], DevAccounts]) -> None:
        self._accounts = accounts

    @hookimpl
    async def config_changed(self, old: Settings, new: Settings) -> None:
        before, after = (settings.section("auth", Auth).dev_users for settings in (old, new))
        if before != after:
            await self._accounts().sync()
