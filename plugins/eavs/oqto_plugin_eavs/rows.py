"""The rows of the ledger: what is written of calls, wallets and alerts, and how sums are read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform import clock

from .rates import Rates

if TYPE_CHECKING:
    from .ledger import Bill
    from .prices import Tokens
    from .store import Statement
    from .wallets import Call, Wallet

RECOVER = """UPDATE calls SET state = 'settled', outcome = 'crash', cost_nusd = hold_nusd, is_estimated = 1, ended_at = started_at
WHERE state = 'pending'"""
WALLET = """INSERT INTO wallets (id, kind, parent, name, reservation, limit_nusd, window, is_custom, told, rates, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET parent = excluded.parent,
name = excluded.name, limit_nusd = excluded.limit_nusd, window = excluded.window, is_custom = excluded.is_custom, told = excluded.told,
rates = excluded.rates"""
ALERT = """INSERT INTO alerts (at, wallet, kind, name, account, session, percent, spent_nusd, limit_nusd, window)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
BY_DAY = """SELECT wallet, date(started_at, 'unixepoch'), sum(CASE state WHEN 'pending' THEN 0 ELSE cost_nusd END),
sum(state != 'pending') FROM calls {where} GROUP BY 1, 2"""
RECENT = """SELECT wallet, key_id, started_at, input + cache_read + cache_write + cache_write_1h + output FROM calls
WHERE started_at >= ? ORDER BY started_at"""


def opened(call: Call) -> tuple[Any, ...]:
    """The pending row of a call: `COLUMNS`."""
    return (call.id, call.wallet.id, *call.facts, call.hold, call.started_at)


def closed(call: Call, bill: Bill, t: Tokens, now: float) -> tuple[Any, ...]:
    """How a call ended: its id and `OUTCOME`."""
    return (
        call.id, bill.outcome, bill.status, bill.cost, int(bill.is_estimated), t.input, t.cache_read, t.cache_write,
        t.cache_write_1h, t.output, t.reasoning, t.web_searches, now,
    )  # fmt: skip


def wallet_row(wallet: Wallet) -> Statement:
    """What writes a wallet."""
    parent = wallet.parent.id if wallet.parent else None
    rates = msgspec.json.encode(wallet.flow.rates if wallet.flow else Rates()).decode()
    head = (wallet.id, wallet.kind, parent, wallet.name, wallet.reservation, wallet.limit_nusd, wallet.window)
    return WALLET, (*head, int(wallet.is_custom), f"{wallet.window_key}|{wallet.told}", rates, clock.now())
