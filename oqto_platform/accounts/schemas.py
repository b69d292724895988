"""What the sign-in and account routes take and give."""

from __future__ import annotations

from typing import Annotated

import msgspec

from oqto_platform.types import Account

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class SetupRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first account, by the link from the terminal."""

    token: Annotated[str, msgspec.Meta(max_length=200)]
    name: Name
    password: Password


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    password: Password


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current: Password
    new: Password


class AuthState(msgspec.Struct, frozen=True, kw_only=True):
    """What the sign-in page needs to know. `setup_required`: there is no account yet."""

    setup_required: bool
    account: Account | None
    version: str
    mode: str


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """Spending in US dollars; `limit_usd` null means no limit."""

    spent_usd: float
    limit_usd: float | None
    calls: int
    sessions: dict[str, float]
