"""
The owner's side of several proxy workers: it keeps keys, limits and money, and they do the relaying.

A call's pending row must reach the one writer of the ledger before it leaves, so the worker asks for its money in
the same message; nothing is lent in advance, and no budget lies idle in the wrong process. A worker that dies
has its open calls billed at their estimate, because their replies may have been delivered.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from oqto_platform import peers
from oqto_platform.errors import Invalid

from . import till_wire as wire
from .admission import BAD_KEY, refusal_of
from .ledger import Bill, Facts
from .prices import Tokens
from .refusals import Refused

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

    from .keys import Key, Keys
    from .ledger import Call, Ledger
    from .metrics import Metrics
    from .place import Place
    from .proxy import Proxy

log = structlog.get_logger("oqto.eavs")

AGAIN_S = 0.5
START_S = 30.0
STOP_S = 1.5
APPLY_S = 1.0


class Far:
    """A call that another process serves, as the ledger ends it."""

    def __init__(self, branch: Branch, identity: str) -> None:
        self._branch, self._id = branch, identity

    def cancel(self) -> None:
        """End it there."""
        self._branch.say(wire.Cancel(self._id))


class Branch(wire.Line):
    """A worker, as the owner sees it."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(wire.decode_from_worker)
        self._crew = crew
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: dict[str, Call] = {}
        self.applied, self.is_ready = 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet a worker of our own; nobody else."""
        super().connection_made(transport)
        if peers.uid_of(transport.get_extra_info("socket")) != os.getuid():
            self.cut()
            return
        self._crew.join(self)

    def ended(self) -> None:
        """Bill what the worker has left behind."""
        self._crew.branches.discard(self)
        for task in self._tasks:
            task.cancel()
        for call in self._calls.values():
            self._crew.ledger.close_call(call, Bill(Tokens(), call.hold, "crash", is_estimated=True))
        for call in self._failed.values():
            self._crew.ledger.free_place(call)
        self._calls.clear()
        self._failed.clear()

    def received(self, message: Any) -> None:
        """Answer, at once or when the disk has it."""
        match message:
            case wire.Open():
                self._later(self._open(message))
            case wire.Close():
                self._later(self._close(message))
            case wire.Note():
                self._crew.metrics.refused[message.reason] += 1
            case wire.Applied():
                self.applied, self.is_ready = message.number, True
                self._crew.heard.set()
            case wire.Stretch():
                call = self._calls.get(message.id)
                is_more = call is not None and self._crew.ledger.stretch(call, message.hold)
                self.say(wire.Done(message.n) if is_more else wire.No(message.n, 402, "budget_exceeded", ""))
            case wire.Find() | wire.Look():
                self._answer(message)

    def _answer(self, message: wire.Find | wire.Look) -> None:
        try:
            key = self._crew.key(message.hash)
            if isinstance(message, wire.Look):
                self._crew.ledger.look(key.wallet, key.flow, takes=message.takes)
                self.say(wire.Done(message.n))
            else:
                self.say(wire.Known(message.n, key.id, key.hash, key.grants, key.expires_at))
        except Exception as exc:  # noqa: BLE001 whatever it is, the worker gets an answer
            self._refuse(message.n, exc)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, ask: wire.Open) -> None:
        after = self._failed.pop(ask.after, None)
        try:
            key = self._crew.key(ask.hash)
        except Refused as exc:
            if after is not None:
                self._crew.ledger.free_place(after)
            self._refuse(ask.n, exc)
            return
        facts = Facts(key.account, key.workspace, key.id, ask.provider, ask.model, ask.dialect, ask.priced_as)
        try:
            call = await self._crew.ledger.open_call(
                ask.id, key.wallet, ask.hold, facts, tokens=ask.tokens, flow=key.flow, after=after
            )
        except Exception as exc:  # noqa: BLE001 whatever it is, the worker gets an answer
            self._refuse(ask.n, exc)
            return
        call.task = Far(self, ask.id)
        if self.transport is None:  # it died while the disk was busy, so nothing has left
            self._crew.ledger.close_call(call, Bill(Tokens(), 0, "refused"))
            return
        self._calls[ask.id] = call
        self.say(wire.Done(ask.n))

    async def _close(self, ask: wire.Close) -> None:
        if (call := self._calls.pop(ask.id, None)) is not None:
            bill = Bill(ask.tokens, ask.cost, ask.outcome, ask.status, ask.is_estimated)
            done = self._crew.ledger.close_call(call, bill, keeps_place=ask.keeps_place)
            if ask.keeps_place:
                self._failed[ask.id] = call
            await done
        self.say(wire.Done(ask.n))

    def _refuse(self, n: int, exc: Exception) -> None:
        if (no := refusal_of(exc)) is None:
            log.error("a worker's question failed", exc_info=exc)
            no = Refused(503, "ledger_unavailable", "The ledger failed; see its log.")
        self.say(wire.No(n, no.http_status, no.reason, no.detail, no.retry_after_s, no.used_up))


class Crew:
    """The workers: started, set up, started again when they die, ended with the owner."""

    def __init__(self, proxy: Proxy, keys: Keys, ledger: Ledger, metrics: Metrics) -> None:
        self._proxy, self._keys = proxy, keys
        self.ledger, self.metrics = ledger, metrics
        self.branches: set[Branch] = set()
        self.heard = asyncio.Event()
        self._number = 0
        self._is_closing = False
        self._keepers: list[asyncio.Task[None]] = []
        keys.on_revoke.append(self._forget)

    def key(self, key_hash: bytes) -> Key:
        """The key in force; raises `Refused`."""
        if (found := self._keys.by_hash(key_hash)) is None:
            raise Refused(401, "invalid_api_key", BAD_KEY)
        return found

    def join(self, branch: Branch) -> None:
        """A worker has come."""
        self.branches.add(branch)
        branch.say(self._set_up())

    async def tell(self) -> None:
        """Bring every worker the providers and limits as they are now; answers when they have them."""
        self._number += 1
        for branch in self.branches:
            branch.say(self._set_up())
        with suppress(TimeoutError):
            async with asyncio.timeout(APPLY_S):
                while any(branch.applied < self._number for branch in self.branches):
                    self.heard.clear()
                    await self.heard.wait()

    def _set_up(self) -> wire.SetUp:
        limits = self._proxy.limits
        sizes = wire.Limits(limits.max_body, limits.hold_output, limits.allow_unpriced)
        return wire.SetUp(self._number, self._proxy.registry.all(), sizes)

    def _forget(self, key_hash: bytes) -> None:
        for branch in self.branches:
            branch.say(wire.Forget(key_hash))

    async def start(self, place: Place, listeners: list[socket.socket]) -> None:
        """Keep workers running that inherit the listening sockets; answers when the first of them relays."""
        loop, previous = asyncio.get_running_loop(), os.umask(0o177)
        try:
            self._door = await loop.create_unix_server(lambda: Branch(self), str(place.till_socket))
        finally:
            os.umask(previous)
        self._path = place.till_socket
        handles = [listener.fileno() for listener in listeners]
        argv = ["-I", "-m", "oqto_plugin_eavs", "work", "--till", str(place.till_socket)]
        argv += ["--ca-file", place.ca_file, "--listeners", ",".join(map(str, handles))]
        self._keepers = [loop.create_task(self._keep(argv, handles)) for _ in range(place.workers)]
        try:
            async with asyncio.timeout(START_S):
                while not any(branch.is_ready for branch in self.branches):
                    self.heard.clear()
                    await self.heard.wait()
        except TimeoutError as exc:
            raise Invalid(
                f"no worker of the LLM proxy has come up within {START_S:g} s; see its log"
            ) from exc

    async def _keep(self, argv: list[str], handles: list[int]) -> None:
        while not self._is_closing:
            child = await asyncio.create_subprocess_exec(sys.executable, *argv, pass_fds=handles)
            try:
                code = await child.wait()
            except asyncio.CancelledError:
                await _end(child)
                raise
            log.warning("a worker ended and is started again", code=code)
            await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """End the workers; they bill their open calls first."""
        self._is_closing = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._door.close()
        self._path.unlink(missing_ok=True)
        for branch in list(self.branches):
            branch.cut()


async def _end(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_S)
    except TimeoutError:
        child.kill()
        await child.wait()
