"""A proxy worker: relays calls, and asks the owner of the ledger for keys and money. It ends when the owner does."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oqto_platform import clock

from . import till_wire as wire
from .admission import BAD_KEY, NO_KEY
from .keys import digest
from .prices import Tokens
from .providers import Registry
from .proxy import Limits, Proxy
from .refusals import Refused
from .server import Server
from .upstream import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .admission import Opening
    from .keys import Grants
    from .ledger import Bill
    from .wallets import Ends

KEPT_KEYS = 10_000


@dataclass(slots=True, frozen=True)
class LentKey:
    """A key as a worker knows it."""

    id: str
    hash: bytes
    grants: Grants
    expires_at: float | None


@dataclass(slots=True, eq=False)
class LentCall:
    """A call whose money the owner has set aside."""

    id: str
    hold: int
    started_at: float
    task: Ends | None = None
    billed: asyncio.Future[None] | None = None
    is_asking: bool = False
    is_broke: bool = False


class FarTill(wire.Line):
    """The counter of another process: what `admission.Till` does, by message."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(wire.decode_from_owner)
        self._registry = registry
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._keys: dict[bytes, LentKey] = {}
        self._calls: dict[str, LentCall] = {}
        self._number = 0
        self.limits = Limits()
        self.lost = asyncio.Event()
        self.is_set_up = asyncio.Event()
        self.proxy: Proxy | None = None

    # What the owner says.

    def received(self, message: Any) -> None:
        """An answer, or an order."""
        match message:
            case wire.SetUp():
                self._set_up(message)
            case wire.Forget():
                self._keys.pop(message.hash, None)
            case wire.Cancel():
                call = self._calls.get(message.id)
                if call is not None and call.task is not None:
                    call.task.cancel()
            case wire.No():
                self._settle(message.n, _refused(message))
            case wire.Known() | wire.Done():
                self._settle(message.n, message)

    def _settle(self, n: int, answer: Any) -> None:
        future = self._waiting.pop(n, None)
        if future is None or future.done():
            return
        if isinstance(answer, Refused):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _set_up(self, message: wire.SetUp) -> None:
        self._registry.replace(message.providers)
        limits = message.limits
        self.limits = Limits(limits.max_body, limits.hold_output, limits.allow_unpriced)
        if self.proxy is not None:
            self.proxy.limits = self.limits
        self._number = message.number
        self.is_set_up.set()
        if self.proxy is not None:
            self.say(wire.Applied(message.number))

    def serves(self) -> None:
        """Say that calls are taken from now on."""
        self.say(wire.Applied(self._number))

    def ended(self) -> None:
        """Without its owner a worker has no money to spend."""
        for n in list(self._waiting):
            self._settle(
                n, Refused(503, "ledger_unavailable", "The proxy is being restarted.", retry_after_s=1)
            )
        self.leave()

    def leave(self) -> None:
        """Take no more calls, also where none was taken yet: an owner may go before its first word."""
        self.lost.set()
        self.is_set_up.set()

    def _ask(self, n: int, message: wire.FromWorker) -> asyncio.Future[Any]:
        future = self._waiting[n] = asyncio.get_running_loop().create_future()
        self.say(message)
        if self.transport is None:
            self._settle(
                n, Refused(503, "ledger_unavailable", "The proxy is being restarted.", retry_after_s=1)
            )
        return future

    # What the proxy asks.

    async def find(self, secret: str) -> LentKey:
        """The key of a secret; raises `Refused` for none and for one that is not in force."""
        if not secret:
            raise Refused(401, "missing_api_key", NO_KEY)
        key_hash = digest(secret)
        if (key := self._keys.get(key_hash)) is None:
            found = await self._ask(n := next(self._numbers), wire.Find(n, key_hash))
            key = LentKey(found.id, found.hash, found.grants, found.expires_at)
            if len(self._keys) >= KEPT_KEYS:
                self._keys.clear()
            self._keys[key_hash] = key
        if key.expires_at is not None and key.expires_at <= clock.now():
            raise Refused(401, "invalid_api_key", BAD_KEY)
        return key

    async def look(self, key: LentKey, *, takes: bool = False) -> None:
        """Raise `Refused` when the key has to wait. Calls that open one are looked at there."""
        if takes:
            await self._ask(n := next(self._numbers), wire.Look(n, key.hash, takes=True))

    async def open(self, asked: Opening) -> LentCall:
        """Take a place and set money aside, on disk; raises `Refused`."""
        choice, n = asked.choice, next(self._numbers)
        message = wire.Open(
            n, asked.id, asked.key.hash, choice.provider.name, choice.model, asked.dialect, choice.price.matched,
            asked.hold, asked.tokens, asked.after.id if asked.after else "",
        )  # fmt: skip
        call = LentCall(asked.id, asked.hold, clock.now())
        try:
            await asyncio.shield(self._ask(n, message))
        except asyncio.CancelledError:
            # The owner opens it all the same; it must not stay open.
            self._calls[call.id] = call
            self._close(
                call, wire.Close(next(self._numbers), call.id, _NOTHING, 0, "refused", 0, False, False)
            )
            raise
        self._calls[call.id] = call
        return call

    def stretch(self, call: LentCall, hold: int) -> bool:
        """Ask for more; `False` once the owner has said that there is none."""
        if not call.is_broke and not call.is_asking:
            call.is_asking = True
            answer = self._ask(n := next(self._numbers), wire.Stretch(n, call.id, hold))
            answer.add_done_callback(lambda done: _stretched(call, hold, done))
        return not call.is_broke

    async def grow(self, call: LentCall, hold: int) -> bool:
        """Ask for more before something is sent; whether there was more."""
        try:
            await self._ask(n := next(self._numbers), wire.Stretch(n, call.id, hold))
        except Refused:
            return False
        call.hold = hold
        return True

    def close(self, call: LentCall, bill: Bill, *, keeps_place: bool) -> asyncio.Future[None]:
        """Hand the bill over; done when it is on disk. `keeps_place`: another attempt follows."""
        if call.billed is not None:
            return call.billed
        n = next(self._numbers)
        return self._close(
            call,
            wire.Close(
                n, call.id, bill.tokens, bill.cost, bill.outcome, bill.status, bill.is_estimated, keeps_place
            ),
        )

    def _close(self, call: LentCall, message: wire.Close) -> asyncio.Future[None]:
        self._calls.pop(call.id, None)
        call.billed = self._ask(message.n, message)
        call.billed.add_done_callback(lambda done: done.cancelled() or done.exception())
        return call.billed

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self.say(wire.Note(reason))

    async def drain(self) -> None:
        """Wait until every bill is on disk."""
        if self._waiting:
            await asyncio.wait(self._waiting.values(), timeout=1.0)


_NOTHING = Tokens()


def _refused(no: wire.No) -> Refused:
    return Refused(no.status, no.reason, no.detail, retry_after_s=no.retry_after_s, used_up=no.used_up)


def _stretched(call: LentCall, hold: int, done: asyncio.Future[Any]) -> None:
    call.is_asking = False
    if done.cancelled() or done.exception() is not None:
        call.is_broke = True
    else:
        call.hold = hold


async def work(till_path: Path, listeners: Sequence[int], ca_file: str) -> None:
    """Serve on inherited sockets until the owner has gone or says so."""
    loop, registry = asyncio.get_running_loop(), Registry()
    _, till = await loop.create_unix_connection(lambda: FarTill(registry), str(till_path))
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, till.leave)
    await till.is_set_up.wait()
    if till.lost.is_set():
        return
    proxy = till.proxy = Proxy(till=till, registry=registry, pool=Pool(ca_file=ca_file), limits=till.limits)
    server = Server(proxy.handle)
    for handle in listeners:
        await server.listen_on(socket.socket(fileno=handle))
    till.serves()
    await till.lost.wait()
    await proxy.close()
    server.close()
