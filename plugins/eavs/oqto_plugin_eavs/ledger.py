"""
The ledger: money set aside before each call, the bill after it, and who is told when it runs low.

One process owns the numbers. `open_call` puts the estimate aside in every wallet of the chain or in none,
and answers once the pending row is on disk; `close_call` replaces the estimate by the bill. Rows are the
truth: at a start the sums come from them, and a row still pending is billed at its estimate, because its
reply may have been delivered.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from oqto_platform import clock
from oqto_platform.errors import BudgetExceeded

from .changes import NewLimit, NewRates, carry_out
from .prices import Tokens
from .rates import Flow, Rates, Wait
from .rows import ALERT, BY_DAY, RECENT, RECOVER, closed, opened, wallet_row
from .store import settle
from .wallets import ALL, PLATFORM, WORDS, Call, Facts, Wallet, account_of, session_of, window_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from .changes import Change
    from .store import Statement, Store, Told
    from .wallets import Window

__all__ = ["PLATFORM", "Bill", "Call", "Facts", "Ledger", "TooFast", "Wallet", "window_key"]


class Bill(msgspec.Struct, frozen=True):
    """How a call ended. `outcome`: done, refused, cut, left, lost, shutdown."""

    tokens: Tokens
    cost: int
    outcome: str
    status: int = 0
    is_estimated: bool = False


class TooFast(Exception):
    """A limit beside money stands against a call; `whose` says of which wallet or key."""

    def __init__(self, wait: Wait, whose: str) -> None:
        super().__init__(wait.reason)
        self.wait, self.whose = wait, whose


DAY_S = 86_400
Bounds = tuple[tuple[Flow, str], ...]
"""Limits beside money that a call stands under, and in words whose they are."""


class Ledger:
    """All wallets of this proxy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.wallets: dict[str, Wallet] = {}
        self.layout = 0
        """Counts the changes of names, parents and limits of wallets."""
        self._changing = asyncio.Lock()
        self.on_bill: list[Callable[[Call, Bill, float], None]] = []
        """Told of each call that ended, with the time."""

    async def load(self) -> int:
        """Settle what a crash left and read the sums; returns how many calls were left over."""
        (left,) = (await self._store.read("SELECT count(*) FROM calls WHERE state = 'pending'"))[0]
        await self._store.write((RECOVER, ()))
        await self._load_wallets()
        await self._add_up()
        if PLATFORM not in self.wallets:
            await self.put_wallet(Wallet(PLATFORM, "platform", None))
        return int(left)

    async def _load_wallets(self) -> None:
        query = "SELECT id, kind, name, reservation, limit_nusd, window, is_custom, told, rates, parent FROM wallets"
        rows = await self._store.read(query)
        told: dict[str, str] = {}
        for identity, kind, name, reservation, limit, window, custom, last, rates, _ in rows:
            wallet = Wallet(identity, kind, None, name, reservation, limit, window, bool(custom))
            wallet.window_key = window_key(window, clock.now())
            told[identity] = last
            limits = msgspec.json.decode(rates, type=Rates)
            wallet.flow = None if limits.is_open else Flow(limits)
            self.wallets[identity] = wallet
        for row in rows:
            wallet = self.wallets[row[0]]
            wallet.parent = self.wallets.get(row[-1]) if row[-1] else None
            key, _, percent = told[wallet.id].rpartition("|")
            wallet.told = int(percent) if percent and key == wallet.window_key else 0

    async def _add_up(self) -> None:
        for identity, day, cost, count in await self._store.read(BY_DAY.format(where="")):
            at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
            if (owner := self.wallets.get(identity)) is None:
                continue
            for wallet in owner.chain():
                wallet.total += cost
                wallet.calls += count
                wallet.spent += cost if window_key(wallet.window, at) == wallet.window_key else 0

    async def recall(self, flow_of: Callable[[str], Flow | None]) -> None:
        """Count the calls of before a restart against the limits per minute and day; `flow_of` a key's id."""
        now, wall = clock.monotonic(), clock.now()
        for identity, key_id, at, tokens in await self._store.read(RECENT, (wall - wall % DAY_S,)):
            owner = self.wallets.get(identity)
            flows = [wallet.flow for wallet in owner.chain()] if owner else []
            for flow in filter(None, [*flows, flow_of(key_id)]):
                flow.recall(max(wall - at, 0.0), now, wall, tokens)

    async def put_wallet(self, wallet: Wallet) -> Wallet:
        """Add a wallet, durable."""
        await self._store.write(self.draft(wallet))
        return self.admit(wallet)

    def draft(self, wallet: Wallet) -> Statement:
        """What writes a new wallet. It counts once it is written and admitted."""
        wallet.window_key = window_key(wallet.window, clock.now())
        return wallet_row(wallet)

    def admit(self, wallet: Wallet) -> Wallet:
        """From now on a written wallet counts."""
        return self.wallets.setdefault(wallet.id, wallet)

    async def set_limit(
        self, identity: str, limit_nusd: int | None, window: Window, *, is_custom: bool = False
    ) -> None:
        """Change what a wallet may spend; counts once it is on disk. `is_custom`: the configuration no longer changes it."""
        wallet = self.wallets[identity]
        await self._carry_out(NewLimit(wallet, limit_nusd, window, is_custom, self._spent_in))

    async def set_rates(self, identity: str, rates: Rates) -> None:
        """Change how often a wallet's calls may come, once it is on disk; calls that run are counted in."""
        await self._carry_out(NewRates(self.wallets[identity], rates, self._open_below))

    async def _carry_out(self, change: Change) -> None:
        # To its end although whoever asked may leave: row and memory would be at odds.
        await asyncio.shield(self._one_by_one(change))

    async def _one_by_one(self, change: Change) -> None:
        async with self._changing:
            await carry_out(change, self._store.write, lambda: self.layout)
            self.layout += 1

    async def rename(self, wallet: Wallet, name: str) -> None:
        """Change the name that people see."""
        wallet.name = name
        self.layout += 1
        await self._store.write(wallet_row(wallet))

    async def move(self, wallet: Wallet, parent: Wallet) -> None:
        """
        Put a wallet under another one, with everything it spent and holds.

        The sums of both chains change in one step, and are those that a restart would find.
        """
        if wallet.parent is parent:
            return
        await self._store.flush(1.0)
        days = [(d, cost) for _, d, cost, _ in await self._store.read(*self._days_below(wallet))]
        days.append(
            (f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%d}", wallet.total - sum(c for _, c in days))
        )
        self._shift(wallet, days, -1)
        wallet.parent = parent
        self.layout += 1
        self._shift(wallet, days, +1)
        await self._store.write(wallet_row(wallet))

    def _shift(self, moved: Wallet, days: list[tuple[str, int]], sign: int) -> None:
        for owner in moved.parent.chain() if moved.parent else ():
            owner.roll(clock.now())
            owner.total += sign * moved.total
            owner.held += sign * moved.held
            owner.calls += sign * moved.calls
            for day, cost in days:
                at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
                owner.spent += sign * cost if window_key(owner.window, at) == owner.window_key else 0

    def _days_below(self, wallet: Wallet) -> tuple[str, tuple[str, ...]]:
        members = tuple(w.id for w in self.wallets.values() if wallet in w.chain())
        return BY_DAY.format(where=f"WHERE wallet IN ({','.join('?' * len(members))})"), members

    def _open_below(self, wallet: Wallet) -> list[Call]:
        return [call for w in self.wallets.values() if wallet in w.chain() for call in w.open_calls]

    async def _spent_in(self, window: Wallet, wallet: Wallet) -> int:
        """What `wallet` spent in the window of another; a bill that is no row yet is of today."""
        rows = await self._store.read(*self._days_below(wallet))
        days = [
            (datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp(), cost) for _, day, cost, _ in rows
        ]
        days.append((clock.now(), wallet.total - sum(cost for _, cost in days)))
        return sum(cost for at, cost in days if window_key(window.window, at) == window.window_key)

    async def open_call(
        self,
        identity: str,
        wallet: Wallet,
        hold: int,
        facts: Facts,
        *,
        tokens: int = 0,
        flow: Flow | None = None,
        after: Call | None = None,
    ) -> Call:
        """
        Set `hold` aside, durably, and take a place of every limit. `flow` is the key's own.

        `after` is an attempt of the same call that failed and kept its place. Raises `TooFast`,
        `BudgetExceeded` (naming the wallet) or `StoreFailed`; nothing is taken then.
        """
        bounds = () if after else self.bounds_on(wallet, flow)
        call = self.set_aside(identity, wallet, hold, facts, clock.now(), bounds, tokens=tokens, after=after)
        try:
            await self._store.open_row(opened(call))
        except (
            BaseException
        ):  # by cancelling, too: the row may be written, so it is settled; nothing was sent
            self.close_call(call, Bill(Tokens(), 0, "refused"))
            raise
        return call

    def set_aside(
        self,
        identity: str,
        wallet: Wallet,
        hold: int,
        facts: Facts,
        now: float,
        bounds: Bounds,
        *,
        tokens: int = 0,
        after: Call | None = None,
    ) -> Call:
        """
        `open_call` without its row: nothing may leave before `note_open` has told that it is on the disk.

        `bounds` are those of `bounds_on`.
        """
        flows: tuple[Flow, ...] = ()
        if after is not None:
            flows = after.flows
        elif bounds:
            flows = _look(bounds, now, tokens)
        call = Call(identity, wallet, hold, now, facts, tokens, flows)
        try:
            self._hold(wallet, hold, now)
        except BudgetExceeded:
            if after is not None:
                self._free(call, 0)
            raise
        for taken in flows if after is None else ():
            taken.take(clock.monotonic(), now, tokens)
        wallet.open_calls.add(call)
        return call

    def note_open(self, call: Call, told: Told) -> None:
        """Write the pending row of a call; told when it is on the disk."""
        self._store.note_open(opened(call), told)

    def _hold(self, wallet: Wallet, hold: int, now: float) -> None:
        owner: Wallet | None = wallet
        while owner is not None:
            if owner.window != "total":
                owner.roll(now)
            if owner.limit_nusd is not None and not owner.has_room(hold):
                _give_back(wallet, owner, hold)
                self._tell(owner, wallet, ALL)
                raise BudgetExceeded(_broke(owner), wallet=owner.kind)
            owner.held += hold
            owner = owner.parent

    def _free(self, call: Call, tokens: int) -> None:
        for flow in call.flows:
            flow.end()
            flow.take_tokens(clock.monotonic(), tokens - call.tokens)

    def free_place(self, call: Call) -> None:
        """Give up the place that a failed attempt kept."""
        self._free(call, 0)

    def bounds_on(self, wallet: Wallet, flow: Flow | None) -> Bounds:
        """What limits the calls of a key beside money, as long as `layout` stays; `flow` is the key's own."""
        flows = []
        above: Wallet | None = wallet
        while above is not None:
            if above.flow is not None:
                flows.append((above.flow, WORDS.get(above.kind, above.kind)))
            above = above.parent
        if flow is not None:
            flows.append((flow, WORDS["key"]))
        return tuple(flows)

    def look(self, wallet: Wallet, flow: Flow | None, *, takes: bool = False) -> None:
        """Raise `TooFast` when a call would be; with `takes`, take the place of one that costs nothing and is over."""
        now = clock.now()
        flows = _look(self.bounds_on(wallet, flow), now, 0)
        for found in flows if takes else ():
            found.take(clock.monotonic(), now, 0)
            found.end()

    def stretch(self, call: Call, hold: int) -> bool:
        """Set more aside for a call that outgrew its estimate; whether there was more."""
        more, chain = hold - call.hold, call.wallet.chain()
        if not all(owner.has_room(more) for owner in chain):
            return False
        call.hold = hold
        for owner in chain:
            owner.held += more
        return True

    def close_call(self, call: Call, bill: Bill, *, keeps_place: bool = False) -> asyncio.Future[None]:
        """
        Replace the estimate by the bill; the sums change at once, the future is done when it is on disk.

        `keeps_place`: another attempt follows, see `open_call`.
        """
        if call.billed is None:
            call.billed = asyncio.get_running_loop().create_future()
            self.note_bill(call, bill, partial(settle, call.billed), keeps_place=keeps_place)
        return call.billed

    def note_bill(self, call: Call, bill: Bill, told: Told, *, keeps_place: bool = False) -> None:
        """`close_call` for those who wait without a coroutine; at most once for a call."""
        cost, tokens, now = bill.cost, bill.tokens, clock.now()
        call.wallet.open_calls.discard(call)
        owner: Wallet | None = call.wallet
        while owner is not None:
            owner.held -= call.hold
            owner.spent += cost
            owner.total += cost
            owner.calls += 1
            if owner.limit_nusd is not None and cost:
                self._tell(owner, call.wallet, owner.reached())
            owner = owner.parent
        for listener in self.on_bill:
            listener(call, bill, now)
        if not keeps_place and call.flows:
            self._free(call, tokens.prompt + tokens.output)
        self._store.note_close(closed(call, bill, tokens, now), told)

    def _tell(self, owner: Wallet, leaf: Wallet, percent: int) -> None:
        """Note for people that a wallet runs low: once for each threshold of a window."""
        if percent <= owner.told or not owner.limit_nusd:
            return
        owner.told = percent
        facts = (owner.id, owner.kind, owner.name, account_of(leaf), session_of(leaf), percent)
        alert = (clock.now(), *facts, owner.spent, owner.limit_nusd, owner.window_key)
        done = self._store.write((ALERT, alert), wallet_row(owner))
        done.add_done_callback(
            lambda ended: ended.cancelled() or ended.exception()
        )  # the disk's failure is told elsewhere

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


def _look(bounds: Bounds, wall: float, tokens: int) -> tuple[Flow, ...]:
    now = clock.monotonic()
    for found, whose in bounds:
        if (wait := found.wait(now, wall, tokens)) is not None:
            raise TooFast(wait, whose)
    return tuple(found for found, _ in bounds)


def _give_back(wallet: Wallet, until: Wallet, hold: int) -> None:
    owner: Wallet | None = wallet
    while owner is not None and owner is not until:
        owner.held -= hold
        owner = owner.parent


def _broke(wallet: Wallet) -> str:
    whose = WORDS.get(wallet.kind, "the whole platform")
    return f"The money set aside for {whose} does not cover this call. An admin can raise the limit."
