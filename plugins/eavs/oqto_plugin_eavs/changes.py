"""
New limits of a wallet: on the disk first, then in force, and both or neither.

What is in force before it is written would fall back at the next start, although somebody was told that it failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from oqto_platform import clock

from .rates import Flow
from .rows import wallet_row
from .wallets import window_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .rates import Rates
    from .store import Statement
    from .wallets import Call, Wallet, Window


class Change(Protocol):
    """A wallet as it is to be, and how the one there is becomes that. `draw` has to be right when it returns."""

    wallet: Wallet

    async def draw(self) -> Wallet:
        """A copy with the change, made of how the wallet is now."""

    def take(self, new: Wallet) -> None:
        """The row of `new` is written, and nothing else of the wallet has changed since it was drawn."""


@dataclass
class NewLimit:
    """What a wallet may spend, and in which window. `spent_in` counts again what it spent in a window's row."""

    wallet: Wallet
    limit_nusd: int | None
    window: Window
    is_custom: bool
    spent_in: Callable[[Wallet, Wallet], Awaitable[int]]

    async def draw(self) -> Wallet:
        """The sums are those of this moment; a threshold that is not reached any more is to be told again."""
        new = replace(
            self.wallet, limit_nusd=self.limit_nusd, is_custom=self.is_custom or self.wallet.is_custom
        )
        if self.window != new.window:
            new.window, new.window_key = self.window, window_key(self.window, clock.now())
            new.spent = await self.spent_in(new, self.wallet)
            new.total = self.wallet.total
        new.told = min(new.told, new.reached())
        return new

    def take(self, new: Wallet) -> None:
        """With what was billed since it was drawn."""
        mine = self.wallet
        mine.limit_nusd, mine.window, mine.window_key = new.limit_nusd, new.window, new.window_key
        mine.is_custom, mine.told = new.is_custom, new.told
        mine.spent = new.spent + mine.total - new.total


@dataclass
class NewRates:
    """How often a wallet's calls may come. `open_below` has the calls that run."""

    wallet: Wallet
    rates: Rates
    open_below: Callable[[Wallet], list[Call]]

    async def draw(self) -> Wallet:
        """Only for its row: what was taken so far stays with the flow there is."""
        return replace(self.wallet, flow=Flow(self.rates))

    def take(self, new: Wallet) -> None:
        """Calls that run are counted in."""
        mine, flow = self.wallet, new.flow
        if mine.flow is not None:
            mine.flow.rates = self.rates
        elif flow is not None and not self.rates.is_open:
            mine.flow = flow
            for call in self.open_below(mine):
                flow.running += 1
                call.flows = (*call.flows, flow)


async def carry_out(
    change: Change, write: Callable[[Statement], Awaitable[None]], layout: Callable[[], int]
) -> None:
    """
    Draw, write, take. Raises what `write` does; nothing has changed then.

    A row is whole: one that was written meanwhile for another reason may be the later one, and would take this
    change back. So it is drawn again until nothing came in between. `layout` counts moves of other wallets.
    """
    while True:
        seen = layout(), _values(change.wallet)
        new = await change.draw()
        await write(wallet_row(new))
        if seen == (layout(), _values(change.wallet)):
            break
    change.take(new)


def _values(wallet: Wallet) -> tuple[object, ...]:
    """What a wallet's row says, without when."""
    _, values = wallet_row(wallet)
    return values[:-1]
