"""
Wallets: who may spend what, in a hierarchy, in windows of the calendar.

    key ⊂ session ⊂ workspace ⊂ account ⊂ group ⊂ platform          (any of them may be left out)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from .rates import Flow

Window = Literal["total", "day", "week", "month"]
PLATFORM = "platform"
DAY_S = 86_400
THRESHOLDS = (50, 80, 95, 100)
"""Per cent of a limit at which people are told."""
ALL = THRESHOLDS[-1]
WORDS = {
    "key": "this key",
    "session": "this session",
    "workspace": "this workspace",
    "account": "this account",
    "group": "this group",
    "platform": "the whole platform",
}


class Ends(Protocol):
    """What ends a call from outside: a task, or a message to the process that has it."""

    def cancel(self) -> object:
        """End it."""


class Facts(NamedTuple):
    """What a row says about a call beside money, in the order of its columns."""

    account: str
    workspace: str
    key_id: str
    provider: str
    model: str
    dialect: str
    priced_as: str = ""


class Call(msgspec.Struct, eq=False):
    """A call in flight: its wallet and what is set aside for it. `task` ends it from outside; `billed` is for who waits."""

    id: str
    wallet: Wallet
    hold: int
    started_at: float
    facts: Facts
    tokens: int = 0
    flows: tuple[Flow, ...] = ()
    task: Ends | None = None
    billed: asyncio.Future[None] | None = None


@dataclass(slots=True, eq=False)
class Wallet:
    """Money of one owner. `spent` counts the current window only; `told` is the threshold told last."""

    id: str
    kind: str
    parent: Wallet | None
    name: str = ""
    reservation: str = ""
    limit_nusd: int | None = None
    window: Window = "total"
    is_custom: bool = False
    window_key: str = ""
    spent: int = 0
    total: int = 0
    held: int = 0
    calls: int = 0
    told: int = 0
    flow: Flow | None = None
    open_calls: set[Call] = field(default_factory=set)

    def chain(self) -> list[Wallet]:
        """The wallet itself and all above it."""
        found, above = [self], self.parent
        while above is not None:
            found.append(above)
            above = above.parent
        return found

    def of_kind(self, kind: str) -> Wallet | None:
        """The wallet of that kind in the chain."""
        wallet: Wallet | None = self
        while wallet is not None and wallet.kind != kind:
            wallet = wallet.parent
        return wallet

    def roll(self, at: float) -> None:
        """Begin a new window when the clock says so. A clock set back reopens nothing."""
        if self.window == "total":
            return
        key = window_key(self.window, at)
        if key > self.window_key:
            self.window_key, self.spent, self.told = key, 0, 0

    def has_room(self, amount: int) -> bool:
        """Whether `amount` more may be set aside."""
        return self.limit_nusd is None or self.spent + self.held + amount <= self.limit_nusd

    def reached(self) -> int:
        """The highest threshold that the spending has reached; 0 for none, or without a limit."""
        if self.limit_nusd is None or self.spent * ALL < self.limit_nusd * THRESHOLDS[0]:
            return 0
        return max((p for p in THRESHOLDS if self.spent * ALL >= self.limit_nusd * p), default=0)


def window_key(window: Window, at: float) -> str:
    """The name of the window that `at` falls in, UTC; names of later windows sort later."""
    return "" if window == "total" else _window_key(window, int(at // DAY_S))


@lru_cache(maxsize=256)
def _window_key(window: Window, day_number: int) -> str:
    day = datetime.fromtimestamp(day_number * DAY_S, UTC)
    year, week, _ = day.isocalendar()
    return {"total": "", "day": f"{day:%Y-%m-%d}", "week": f"{year}-W{week:02}", "month": f"{day:%Y-%m}"}[
        window
    ]


def account_of(wallet: Wallet) -> str:
    """The id of the account that a wallet belongs to; empty for none."""
    owner = wallet.of_kind("account")
    return owner.id.removeprefix("account:") if owner else ""


def workspace_of(wallet: Wallet) -> str:
    """The folder that a wallet's calls belong to; empty for none."""
    owner = wallet.of_kind("workspace") or wallet.of_kind("session")
    return owner.name if owner else ""


def session_of(wallet: Wallet) -> str:
    """The id of the session that a wallet belongs to; empty for none."""
    owner = wallet.of_kind("session")
    return owner.id.removeprefix("session:") if owner else ""
