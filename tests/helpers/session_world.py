"""
What sessions are played on in `test_session_states.py`.

A `World` is what survives a crash: the database, the runner's processes, the wallets. A `Core` is one life of the
server on top of it. It dies between any two steps, without its `finally` blocks doing anything any more: every
later step of that life raises too.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import structlog
from sqlmodel import Session as Transaction
from sqlmodel import select

from oqto_platform import wire
from oqto_platform.access import Access
from oqto_platform.accounts.service import Accounts
from oqto_platform.config import load
from oqto_platform.config.live import Live
from oqto_platform.db import migrate, models, open_engine
from oqto_platform.errors import AgentFailed, OqtoError, Refusal, RunnerUnavailable
from oqto_platform.hooks import Hooks, hookimpl
from oqto_platform.sessions.reconcile import START_PATIENCE_S, Reconciler
from oqto_platform.sessions.schemas import NewSession
from oqto_platform.sessions.service import Sessions
from oqto_platform.sessions.store import Store
from oqto_platform.types import (
    AccountId,
    Identity,
    Outcome,
    Reservation,
    ReservationId,
    Settlement,
    Workspace,
)

ADA = Identity(account_id=AccountId("acc_ada"), name="ada")
CLOCKS = [f"oqto_platform.sessions.{module}.now" for module in ("store", "reconcile")]


class Crash(BaseException):
    """The core was killed here."""


@dataclass
class Wallet:
    is_open: bool = True
    spent: int = 0
    answers: set[int] = field(default_factory=set)
    """What settling answered since the wallet was opened last."""


@dataclass
class Process:
    is_alive: bool = True
    idle_s: float = 0.0
    outcome: Outcome | None = None


@functools.cache
def empty_database() -> bytes:
    """A migrated file with one account, made once: the tests need hundreds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "oqto.db"
        engine = open_engine(path)
        owner = migrate.Owner("core", migrate.HERE / "versions", models.metadata)
        migrate.upgrade(engine, path, [owner])
        with Transaction(engine) as transaction:
            ada = models.AccountRow(id="acc_ada", name="ada", name_key="ada", password_hash="x", created_at=0)
            transaction.add(ada)
            transaction.commit()
        engine.dispose()
        return path.read_bytes()


class World:
    def __init__(self, folder: Path) -> None:
        (folder / "oqto.db").write_bytes(empty_database())
        self.engine = open_engine(folder / "oqto.db")
        self.now = 1_000_000.0
        self.wallets: dict[str, Wallet] = {}
        self.processes: dict[str, Process] = {}
        self.launched: set[str] = set()
        self.told_stopped: set[str] = set()

    def rows(self) -> dict[str, models.SessionRow]:
        with Transaction(self.engine) as transaction:
            found = transaction.exec(select(models.SessionRow)).all()
            return {row.id: models.SessionRow(**row.model_dump()) for row in found}

    def kill_agent(self, session_id: str) -> None:
        process = self.processes.get(session_id)
        if process and process.is_alive:
            process.is_alive, process.outcome = False, Outcome(reason="exited", exit_code=1)

    def spend(self, session_id: str) -> None:
        process, wallet = self.processes.get(session_id), self.wallets.get(session_id)
        if process and process.is_alive and wallet and wallet.is_open:
            wallet.spent += 7


class Core:
    """One life. It dies at step `crash_at`; `faults` name what goes wrong while it lives."""

    def __init__(
        self, world: World, crash_at: int | None = None, faults: frozenset[str] = frozenset()
    ) -> None:
        self.world, self.crash_at, self.faults = world, crash_at, faults
        self.steps = 0
        self.is_dead = False
        live = Live(load(None, {"HOME": "/home/ada"}))
        hooks = Hooks("core")
        hooks.register(Budget(self), "budget")
        hooks.checked()
        db = Db(self)
        store = Store(db)  # type: ignore[arg-type]
        self.reconciler = Reconciler(store, hooks, live, lambda _: Runner(self))  # type: ignore[arg-type,return-value]
        accounts = Accounts(db)  # type: ignore[arg-type]
        self.sessions = Sessions(
            store, accounts, hooks, live, Access(hooks), self.reconciler, lambda _: Runner(self)  # type: ignore[arg-type,return-value]
        )  # fmt: skip

    async def step(self) -> None:
        """Between any two of these the process may be gone."""
        self.steps += 1
        if self.steps == self.crash_at:
            self.is_dead = True
        if self.is_dead:
            raise Crash
        await asyncio.sleep(0)

    def fails(self, name: str) -> bool:
        return name in self.faults


class Db:
    """The real SQLite with the same two methods, in this thread: what happens is repeatable."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def read(self, work):
        await self._core.step()
        with Transaction(self._core.world.engine, expire_on_commit=False) as transaction:
            return work(transaction)

    async def write(self, work, *, outlives_power=True):
        await self._core.step()
        with Transaction(self._core.world.engine, expire_on_commit=False) as transaction:
            transaction.connection().exec_driver_sql("begin immediate")
            result = work(transaction)
            transaction.commit()
        await self._core.step()
        return result


class Budget:
    """Keeps wallets; fails as told, before or after it did its work."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @hookimpl
    async def session_starting(self, session):
        await self._core.step()
        if self._core.fails("refused"):
            raise Refusal("maintenance")

    @hookimpl
    async def budget_reserve(self, session):
        await self._core.step()
        if self._core.fails("reserve"):
            raise RuntimeError("no ledger")
        wallet = self._core.world.wallets.setdefault(session.id, Wallet())
        wallet.is_open = True
        wallet.answers.clear()
        await self._core.step()
        if self._core.fails("reserve.late"):
            raise RuntimeError("the answer was lost")
        return Reservation(id=ReservationId(f"res_{session.id}"))

    @hookimpl
    async def budget_settle(self, session, reservation_id):
        await self._core.step()
        if self._core.fails("settle"):
            raise RuntimeError("no ledger")
        wallet = self._core.world.wallets.setdefault(session.id, Wallet())
        wallet.is_open = False
        wallet.answers.add(wallet.spent)
        await self._core.step()
        if self._core.fails("settle.late"):
            raise RuntimeError("the answer was lost")
        return Settlement(spent_nusd=wallet.spent)

    @hookimpl
    async def session_stopped(self, session):
        await self._core.step()
        self._core.world.told_stopped.add(session.id)


class Runner:
    """A runner client whose calls fail as told: nobody answers, or the answer is lost."""

    def __init__(self, core: Core) -> None:
        self._core, self._world = core, core.world

    async def _call(self, name: str, effect):
        await self._core.step()
        if self._core.fails(name):
            raise RunnerUnavailable("nobody answers")
        result = effect()
        await self._core.step()
        if self._core.fails(f"{name}.late"):
            raise RunnerUnavailable("the answer was lost")
        return result

    async def open_workspace(self, request):
        return Workspace(path=request.path, name="w")

    async def start(self, session, launch):
        def begin():
            if self._core.fails("agent"):
                raise AgentFailed("pi is missing")
            process = self._world.processes.get(session.id)
            if process is None or not process.is_alive:
                self._world.processes[session.id] = Process()
            self._world.launched.add(session.id)
            self._world.told_stopped.discard(session.id)
            return self._status(session.id)

        return await self._call("start", begin)

    async def stop(self, session_id, reason):
        await self._call("stop", lambda: self._world.processes.pop(session_id, None))

    async def delete(self, session_id):
        await self._call("delete", lambda: self._world.processes.pop(session_id, None))

    async def status(self, session_id):
        return await self._call("status", lambda: self._status(session_id))

    async def list(self):
        return await self._call("list", lambda: {name: self._status(name) for name in self._world.processes})

    async def send(self, session_id, command):
        return await self._call("send", lambda: None)

    def _status(self, session_id):
        process = self._world.processes.get(session_id)
        if process is None:
            return wire.SessionStatus(session_id=session_id, state="dead")
        if not process.is_alive:
            return wire.SessionStatus(session_id=session_id, state="dead", outcome=process.outcome)
        return wire.SessionStatus(session_id=session_id, state="idle", idle_s=process.idle_s, pid=1)


class Stage:
    """The world with its clock, and ways to play on it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.world = World(folder)
        self._stack.callback(self.world.engine.dispose)
        for place in CLOCKS:
            self._stack.enter_context(patch(place, lambda: self.world.now))
        self._stack.enter_context(structlog.testing.capture_logs())
        self.loop = self._stack.enter_context(asyncio.Runner())

    def close(self) -> None:
        self._stack.close()

    def play(self, core: Core, call) -> None:
        """Let one life do one thing, to its end or its death. Refusals are answers."""

        async def act():
            with suppress(OqtoError):
                return await call(core)

        with suppress(Crash):
            self.loop.run(act())

    def settle_down(self) -> None:
        """The faults are over; a fresh core does its rounds."""
        core = Core(self.world)
        self.world.now += START_PATIENCE_S + 1
        for _ in range(3):
            self.loop.run(core.reconciler.round())

    def check(self) -> None:
        """What must hold once everything has calmed down."""
        world, rows = self.world, self.world.rows()
        alive = {name for name, process in world.processes.items() if process.is_alive}
        running = {name for name, row in rows.items() if row.state == "running"}
        assert {row.state for row in rows.values()} <= {"running", "settled"}
        assert running == alive, "rows and processes differ"
        assert set(world.processes) == alive, "the runner still waits to be rid of an ending"
        still_open = {name for name, wallet in world.wallets.items() if wallet.is_open}
        assert still_open <= running, "money is set aside for nobody"
        for name, wallet in world.wallets.items():
            assert len(wallet.answers) <= 1, "two settlements gave different answers"
            if name in rows and rows[name].state == "settled":
                assert rows[name].spent_nusd == wallet.spent
        ended = {name for name in rows if rows[name].state == "settled"} & world.launched
        assert ended <= world.told_stopped, "an ending was told to no plugin"


def start(core):
    return core.sessions.start(ADA, NewSession(workspace="/w"))


def on_first(verb):
    async def call(core):
        for name in sorted(core.world.rows()):
            await getattr(core.sessions, verb)(ADA, name)
            return

    return call


async def round_(core):
    await core.reconciler.round()


async def shutdown(core):
    await core.sessions.stop_all("shutdown")


def nothing(stage):
    pass


def one_running(stage):
    stage.play(Core(stage.world), start)
    for name in stage.world.rows():
        stage.world.spend(name)


def one_dead(stage):
    one_running(stage)
    for name in stage.world.rows():
        stage.world.kill_agent(name)


def one_settled(stage):
    one_running(stage)
    stage.play(Core(stage.world), on_first("stop"))


def one_unsettled(stage):
    one_running(stage)
    stage.play(Core(stage.world, faults=frozenset({"settle"})), on_first("stop"))


def one_idle(stage):
    one_running(stage)
    for process in stage.world.processes.values():
        process.idle_s = 1e6
