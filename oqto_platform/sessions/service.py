"""
Starting, resuming, stopping and deleting sessions: steps 3 to 11 of the main journey.

`start` writes its intent before it acts: the row says that money and a process may follow. Whatever breaks
before it says `running` is finished by `reconcile`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePath

import structlog

from oqto_platform import wire
from oqto_platform.access import Access
from oqto_platform.accounts.service import Accounts
from oqto_platform.canon import SetSessionName
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Sessions as SessionSettings
from oqto_platform.errors import Conflict, OqtoError
from oqto_platform.hooks import Hooks
from oqto_platform.runners.client import RunnerClient
from oqto_platform.sessions.reconcile import Reconciler, facts
from oqto_platform.sessions.schemas import NewSession, SessionView
from oqto_platform.sessions.states import LIVE, OVER
from oqto_platform.sessions.store import Store, Stored
from oqto_platform.types import (
    Account,
    AccountId,
    Identity,
    Launch,
    Reservation,
    Session,
    SessionId,
    StopReason,
    Usage,
    WorkspaceRequest,
    new_id,
)

log = structlog.get_logger("oqto.sessions")


class Sessions:
    """What routes and the mux call. Every method checks whose session it is, through `Access`."""

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        hooks: Hooks,
        live: Live,
        access: Access,
        reconciler: Reconciler,
        runner_of: Callable[[str], RunnerClient],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._hooks = hooks
        self._live = live
        self._access = access
        self._reconciler = reconciler
        self._runner_of = runner_of

    async def start(self, identity: Identity, new: NewSession) -> SessionView:
        """A new session with a ready agent."""
        await self._access.check(identity, "session.start", new.workspace)
        wanted = WorkspaceRequest(path=new.workspace)
        account, workspace = await asyncio.gather(
            self._accounts.get(identity.account_id), self.runner_of(identity).open_workspace(wanted)
        )
        session = Session(
            id=SessionId(new_id("ses")),
            account_id=AccountId(account.id),
            workspace=workspace.path,
            harness=new.harness,
            provider=new.provider,
            model=new.model,
            title=new.title,
        )
        stored = await self._store.add(session, limit=self._limit())
        return await self._begin(stored, account, resume=False)

    async def resume(self, identity: Identity, session_id: str) -> SessionView:
        """Start the agent of a session that is over again: same conversation, log and wallet."""
        stored = await self._owned(identity, "session.resume", session_id)
        stored = await self._reconciler.one(session_id)  # its agent may be gone, and the row not know yet
        if stored.state in LIVE:
            raise Conflict(f"the session is {stored.state}; there is nothing to resume")
        account = await self._accounts.get(stored.session.account_id)
        stored = await self._store.restart(session_id, limit=self._limit())
        return await self._begin(stored, account, resume=True)

    async def stop(self, identity: Identity, session_id: str) -> SessionView:
        """End the agent and settle. Stopping what is over changes nothing."""
        stored = await self._owned(identity, "session.stop", session_id)
        return await self._view(await self._end(stored, "asked"))

    async def delete(self, identity: Identity, session_id: str) -> None:
        """Stop, then remove log, private files and row."""
        stored = await self._owned(identity, "session.delete", session_id)
        stored = await self._end(stored, "deleted")
        if stored.state not in OVER:
            raise Conflict(f"the session is still {stored.state}; try again")
        await self._runner_of(stored.session.account_id).delete(stored.id)
        await self._store.remove(session_id)

    async def rename(self, identity: Identity, session_id: str, title: str) -> SessionView:
        stored = await self._owned(identity, "session.rename", session_id)
        await self._store.note(session_id, title=title)
        if stored.state == "running":
            await self._runner_of(stored.session.account_id).send(stored.id, SetSessionName(name=title))
        return await self.get(identity, session_id)

    async def get(self, identity: Identity, session_id: str) -> SessionView:
        return await self._view(await self._owned(identity, "session.read", session_id))

    async def list(self, identity: Identity, limit: int) -> list[SessionView]:
        """Own sessions, those first that were used last."""
        await self._access.check(identity, "session.list", identity.account_id)
        found = await self._store.of_account(identity.account_id, limit)
        usage = await self._usage(identity.account_id) if found else Usage()
        is_any_live = any(stored.state in LIVE for stored in found)
        statuses = await self._statuses(identity.account_id) if is_any_live else {}
        return [_to_view(stored, statuses.get(stored.id), usage) for stored in found]

    async def runner(self, identity: Identity, action: str, session_id: str) -> RunnerClient:
        """The runner of a session that `identity` may do `action` to. The mux's way in."""
        stored = await self._owned(identity, action, session_id)
        return self._runner_of(stored.session.account_id)

    def runner_of(self, identity: Identity) -> RunnerClient:
        """The runner that the account's own sessions run on."""
        return self._runner_of(identity.account_id)

    async def stop_all(self, reason: StopReason) -> None:
        """End every live session, whoever owns it."""
        found = await self._store.in_states(LIVE)
        results = await asyncio.gather(
            *(self._end(stored, reason) for stored in found), return_exceptions=True
        )
        for stored, result in zip(found, results, strict=True):
            if isinstance(result, BaseException):
                log.warning("session was not stopped", session=stored.id, reason=str(result))

    async def _begin(self, stored: Stored, account: Account, *, resume: bool) -> SessionView:
        structlog.contextvars.bind_contextvars(session=stored.id)
        self._reconciler.starting.add(stored.id)
        try:
            return await self._launch(stored, account, resume=resume)
        except BaseException as exc:  # by cancelling, too: money is set aside and the row says "starting"
            self._reconciler.starting.discard(stored.id)
            await self._give_up(stored, exc)
            raise
        finally:
            self._reconciler.starting.discard(stored.id)

    async def _launch(self, stored: Stored, account: Account, *, resume: bool) -> SessionView:
        session = stored.session
        await self._hooks.call.session_starting(session, account)
        reservation = await self._hooks.call.budget_reserve(session, account)
        await self._store.must_be_starting(session.id)
        status = await self._runner_of(account.id).start(session, _to_launch(reservation, resume=resume))
        noted = {"reservation_id": reservation.id} if reservation else {}
        stored = await self._store.move(session.id, "running", **noted, **facts(status))
        await self._hooks.call.session_started(session)
        return _to_view(stored, status, Usage())

    async def _give_up(self, stored: Stored, exc: BaseException) -> None:
        """A start that failed: the process (if any) ends, the money is settled, the row says why."""
        reason = exc.detail if isinstance(exc, OqtoError) else "the start was interrupted"
        log.warning("session did not start", session=stored.id, reason=reason)
        try:
            await self._reconciler.give_up(stored.id, reason)
        except OqtoError as failure:
            log.warning("settling later", session=stored.id, reason=failure.detail)

    async def _end(self, stored: Stored, reason: StopReason) -> Stored:
        if stored.state in ("starting", "running"):
            with suppress(Conflict):  # it ended by itself in this moment
                await self._store.move(stored.id, "stopping", stop_reason=reason)
        return await self._reconciler.one(stored.id) if stored.state != "settled" else stored

    async def _owned(self, identity: Identity, action: str, session_id: str) -> Stored:
        structlog.contextvars.bind_contextvars(session=session_id)
        stored = await self._store.get(session_id)
        await self._access.check(identity, action, session_id, owner=stored.session.account_id)
        return stored

    async def _view(self, stored: Stored) -> SessionView:
        usage = await self._usage(stored.session.account_id)
        statuses = await self._statuses(stored.session.account_id) if stored.state in LIVE else {}
        return _to_view(await self._store.get(stored.id), statuses.get(stored.id), usage)

    async def _usage(self, account_id: str) -> Usage:
        account = await self._accounts.get(account_id)
        try:
            return await self._hooks.call.budget_usage(account) or Usage()
        except OqtoError as exc:
            log.warning("usage is not known", reason=exc.detail)
            return Usage()

    async def _statuses(self, account_id: str) -> Mapping[str, wire.SessionStatus]:
        try:
            return await self._runner_of(account_id).list()
        except OqtoError as exc:
            log.warning("runner does not answer", reason=exc.detail)
            return {}

    def _limit(self) -> int:
        return self._live.current.section("sessions", SessionSettings).max_concurrent_sessions


def _to_launch(reservation: Reservation | None, *, resume: bool) -> Launch:
    if reservation is None:
        return Launch(resume=resume)
    return Launch(env=reservation.env, sources=reservation.sources, relays=reservation.relays, resume=resume)


def _to_view(stored: Stored, status: wire.SessionStatus | None, usage: Usage) -> SessionView:
    session = stored.session
    spent_nusd = max(stored.spent_nusd, usage.sessions.get(session.id, 0))
    is_alive = status is not None and status.state != "dead"
    return SessionView(
        id=session.id,
        workspace=session.workspace,
        workspace_name=PurePath(session.workspace).name or session.workspace,
        harness=session.harness,
        provider=session.provider,
        model=session.model,
        title=(status.title if status else "") or session.title,
        state=stored.state,
        stop_reason=stored.stop_reason,
        agent_state=status.state if status and is_alive else None,
        created_at=stored.created_at,
        started_at=stored.started_at,
        stopped_at=stored.stopped_at,
        last_active_at=stored.last_active_at,
        confined_by=stored.confined_by,
        profile=stored.profile,
        network=stored.network,
        sandbox=stored.sandbox,
        spent_usd=spent_nusd / 1e9,
        error=stored.error,
    )
