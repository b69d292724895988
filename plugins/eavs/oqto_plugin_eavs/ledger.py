"""
Who may spend what: wallets in a hierarchy, money set aside before each call, the bill after it.

    session ⊂ account ⊂ platform

One process owns the numbers. `open_call` puts the estimate aside in every wallet of the chain or in none,
and answers once the pending row is on disk; `close_call` replaces the estimate by the bill. Rows are the
truth: at a start the sums come from them, and a row still pending is billed at its estimate, because its
reply may have been delivered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from oqto_platform import clock
from oqto_platform.errors import BudgetExceeded

from .prices import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .prices import Price
    from .store import Store

Window = Literal["total", "day", "week", "month"]
PLATFORM = "platform"
DAY_S = 86_400


@dataclass(slots=True, eq=False)
class Wallet:
    """Money of a session, an account or the platform. `spent` counts the current window only."""

    id: str
    kind: str
    parent: Wallet | None
    name: str = ""
    reservation: str = ""
    limit_nusd: int | None = None
    window: Window = "total"
    window_key: str = ""
    spent: int = 0
    total: int = 0
    held: int = 0
    calls: int = 0
    open_calls: set[Call] = field(default_factory=set)

    def chain(self) -> Iterator[Wallet]:
        """The wallet itself and all above it."""
        wallet: Wallet | None = self
        while wallet is not None:
            yield wallet
            wallet = wallet.parent

    def roll(self, at: float) -> None:
        """Begin a new window when the clock says so. A clock set back reopens nothing."""
        key = window_key(self.window, at)
        if key > self.window_key:
            self.window_key, self.spent = key, 0

    def has_room(self, amount: int) -> bool:
        """Whether `amount` more may be set aside."""
        return self.limit_nusd is None or self.spent + self.held + amount <= self.limit_nusd


@dataclass(slots=True, eq=False)
class Call:
    """A call in flight: its wallet and what is set aside for it. `cancel` ends it from outside."""

    id: str
    wallet: Wallet
    hold: int
    price: Price
    started_at: float
    task: asyncio.Task[None] | None = None
    billed: asyncio.Future[None] | None = None


@dataclass(slots=True, frozen=True)
class Facts:
    """What a row says about a call beside money."""

    account: str
    workspace: str
    key_id: str
    provider: str
    model: str
    dialect: str


@dataclass(slots=True, frozen=True)
class Bill:
    """How a call ended. `outcome`: done, refused, cut, left, lost, shutdown."""

    tokens: Tokens
    cost: int
    outcome: str
    status: int = 0
    is_estimated: bool = False


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


RECOVER = """UPDATE calls SET state = 'settled', outcome = 'crash', cost_nusd = hold_nusd, is_estimated = 1, ended_at = started_at
WHERE state = 'pending'"""
WALLET = """INSERT INTO wallets (id, kind, parent, name, reservation, limit_nusd, window, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET limit_nusd = excluded.limit_nusd, window = excluded.window"""


class Ledger:
    """All wallets of this proxy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.wallets: dict[str, Wallet] = {}

    async def load(self) -> int:
        """Settle what a crash left and read the sums; returns how many calls were left over."""
        (left,) = (await self._store.read("SELECT count(*) FROM calls WHERE state = 'pending'"))[0]
        await self._store.write((RECOVER, ()))
        rows = await self._store.read(
            "SELECT id, kind, parent, name, reservation, limit_nusd, window FROM wallets"
        )
        parents = {row[0]: row[2] for row in rows}
        for identity, kind, _, name, reservation, limit, window in rows:
            self.wallets[identity] = Wallet(identity, kind, None, name, reservation, limit, window)
        for identity, parent in parents.items():
            self.wallets[identity].parent = self.wallets.get(parent) if parent else None
        await self._add_up()
        if PLATFORM not in self.wallets:
            await self.put_wallet(Wallet(PLATFORM, "platform", None))
        return int(left)

    async def _add_up(self) -> None:
        now = clock.now()
        for wallet in self.wallets.values():
            wallet.window_key = window_key(wallet.window, now)
        days = (
            "SELECT wallet, date(started_at, 'unixepoch'), sum(cost_nusd), count(*) FROM calls GROUP BY 1, 2"
        )
        for identity, day, cost, count in await self._store.read(days):
            at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
            if (owner := self.wallets.get(identity)) is None:
                continue
            for wallet in owner.chain():
                wallet.total += cost
                wallet.calls += count
                wallet.spent += cost if window_key(wallet.window, at) == wallet.window_key else 0

    async def put_wallet(self, wallet: Wallet) -> Wallet:
        """Add a wallet, durable."""
        wallet.window_key = window_key(wallet.window, clock.now())
        await self._save(wallet)
        return self.wallets.setdefault(wallet.id, wallet)

    async def set_limit(self, identity: str, limit_nusd: int | None, window: Window) -> None:
        """Change what a wallet may spend; counts at once."""
        wallet = self.wallets[identity]
        if window != wallet.window:
            wallet.window, wallet.window_key = window, window_key(window, clock.now())
            wallet.spent = await self._spent_since(wallet)
        wallet.limit_nusd = limit_nusd
        await self._save(wallet)

    async def _spent_since(self, wallet: Wallet) -> int:
        members = [w.id for w in self.wallets.values() if wallet in w.chain()]
        marks = ",".join("?" * len(members))
        rows = await self._store.read(
            f"SELECT started_at, cost_nusd FROM calls WHERE wallet IN ({marks})",  # noqa: S608 only question marks
            tuple(members),
        )
        return sum(cost for at, cost in rows if window_key(wallet.window, at) == wallet.window_key)

    async def _save(self, wallet: Wallet) -> None:
        parent = wallet.parent.id if wallet.parent else None
        row = (
            wallet.id,
            wallet.kind,
            parent,
            wallet.name,
            wallet.reservation,
            wallet.limit_nusd,
            wallet.window,
        )
        await self._store.write((WALLET, (*row, clock.now())))

    async def open_call(self, identity: str, wallet: Wallet, hold: int, price: Price, facts: Facts) -> Call:
        """Set `hold` aside, durably. Raises `BudgetExceeded` (naming the wallet) or `StoreFailed`."""
        now = clock.now()
        for owner in wallet.chain():
            owner.roll(now)
            if not owner.has_room(hold):
                raise BudgetExceeded(_broke(owner), wallet=owner.kind)
        call = Call(identity, wallet, hold, price, now)
        self._hold(call, hold)
        row = (call.id, wallet.id, facts.account, facts.workspace, facts.key_id, facts.provider, facts.model)
        try:
            await self._store.open_row((*row, facts.dialect, price.matched, hold, now))
        except BaseException:
            self._drop(call)
            raise
        return call

    def _hold(self, call: Call, amount: int) -> None:
        call.wallet.open_calls.add(call)
        for owner in call.wallet.chain():
            owner.held += amount

    def _drop(self, call: Call) -> None:
        # A cancelled waiter may leave a pending row behind: settle it at nothing, nothing was sent.
        self.close_call(call, Bill(Tokens(), 0, "refused"))

    def stretch(self, call: Call, hold: int) -> bool:
        """Set more aside for a call that outgrew its estimate; whether there was more."""
        more = hold - call.hold
        if not all(owner.has_room(more) for owner in call.wallet.chain()):
            return False
        call.hold = hold
        self._hold(call, more)
        return True

    def close_call(self, call: Call, bill: Bill) -> asyncio.Future[None]:
        """Replace the estimate by the bill; the sums change at once, the future is done when it is on disk."""
        if call.billed is not None:
            return call.billed
        call.wallet.open_calls.discard(call)
        for owner in call.wallet.chain():
            owner.held -= call.hold
            owner.spent += bill.cost
            owner.total += bill.cost
            owner.calls += 1
        t = bill.tokens
        counts = (
            t.input,
            t.cache_read,
            t.cache_write,
            t.cache_write_1h,
            t.output,
            t.reasoning,
            t.web_searches,
        )
        head = (bill.outcome, bill.status, bill.cost, int(bill.is_estimated))
        call.billed = self._store.close_row((call.id, *head, *counts, clock.now()))
        return call.billed

    async def settle(self, wallet: Wallet, timeout_s: float) -> int:
        """End the calls of a wallet and answer what it spent in all."""
        for call in list(wallet.open_calls):
            if call.task is not None:
                call.task.cancel()
        async with asyncio.timeout(timeout_s):
            while wallet.open_calls:
                await clock.sleep(0.01)
        return wallet.total

    async def drain(self) -> None:
        """Wait until every bill is on disk."""
        await self._store.flush(1.0)


def _broke(wallet: Wallet) -> str:
    whose = {"session": "this session", "account": "this account"}.get(wallet.kind, "the whole platform")
    return f"The money set aside for {whose} does not cover this call. An admin can raise the limit."
