"""
The one loop that ends, settles and repairs sessions.

For each row: compare what it says with what the runner says, and do the next step. Each step writes its
intent to the row, acts, and writes the result, and each is safe to repeat; so what a crash interrupted is
simply done again. Stopping by hand only writes the intent and asks for a round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from weakref import WeakValueDictionary

import structlog

from oqto_platform import wire
from oqto_platform.clock import monotonic, now
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Sessions as SessionSettings
from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks
from oqto_platform.runners.client import RunnerClient
from oqto_platform.sessions.states import LIVE, UNSETTLED
from oqto_platform.sessions.store import Store, Stored
from oqto_platform.types import Outcome, SessionState, StopReason

log = structlog.get_logger("oqto.sessions")

START_PATIENCE_S = 90.0
"""A `starting` row that is older and that no worker is busy with was left by a crash."""

BAD_ENDINGS: frozenset[StopReason] = frozenset({"failed", "interrupted"})


class Reconciler:
    """Brings rows and runners together. `runner_of` finds the client for an account id."""

    def __init__(
        self, store: Store, hooks: Hooks, live: Live, runner_of: Callable[[str], RunnerClient]
    ) -> None:
        self._store = store
        self._hooks = hooks
        self._live = live
        self._runner_of = runner_of
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.starting: set[str] = set()
        """Ids that this worker is starting right now: who starts a session also ends it when it is to stop."""
        self._idle_looked_at = -inf
        self._looks_at_idle = True

    async def round(self) -> None:
        """Look at every session that is not settled; at idleness only as often as the settings ask for."""
        self._looks_at_idle = (
            monotonic() - self._idle_looked_at >= self._settings().idle_check_interval_seconds
        )
        if self._looks_at_idle:
            self._idle_looked_at = monotonic()
        for stored in await self._store.in_states(LIVE | UNSETTLED):
            structlog.contextvars.bind_contextvars(session=stored.id)
            try:
                await self.one(stored.id)
            except OqtoError as exc:
                log.warning("session needs another round", session=stored.id, reason=exc.detail)

    async def one(self, session_id: str) -> Stored:
        """Take the steps that are due for one session; returns the row as it is then."""
        async with self._lock(session_id):
            stored = await self._store.get(session_id)
            if session_id in self.starting:
                return stored
            if stored.state in LIVE:
                stored = await self._look(stored)
            if stored.state == "stopping":
                stored = await self._stop(stored)
            if stored.state in UNSETTLED:
                stored = await self._settle(stored)
            return stored

    async def give_up(self, session_id: str, reason: str) -> None:
        """A start that failed or was stopped: the process (if any) ends, the money is settled, the row says why."""
        async with self._lock(session_id):
            stored = await self._store.get(session_id)
            if stored.state == "stopping":
                stored = await self._stop(stored)
            elif stored.state in LIVE:
                stored = await self._is_over(stored, Outcome(reason="failed", detail=reason))
            if stored.state in UNSETTLED:
                await self._settle(stored)
            else:  # another worker ended it before there was anything to end
                await self._close(stored)

    def _lock(self, session_id: str) -> asyncio.Lock:
        return self._locks.setdefault(session_id, asyncio.Lock())

    async def _look(self, stored: Stored) -> Stored:
        """A row that should have a process: does it, and is it still wanted?"""
        if stored.state == "stopping" or (stored.state == "starting" and _may_be_starting(stored)):
            return stored
        status = await self._runner_of(stored.session.account_id).status(stored.id)
        if status.state == "dead":
            return await self._is_over(stored, status.outcome or Outcome(reason="interrupted", detail=_LOST))
        if stored.state == "starting":
            stored = await self._store.move(stored.id, "running", **facts(status))
        await self._note(stored, status)
        if self._looks_at_idle and status.idle_s > self._settings().idle_timeout_minutes * 60:
            log.info("session is idle", session=stored.id, idle_s=round(status.idle_s))
            return await self._store.move(stored.id, "stopping", stop_reason="idle")
        return stored

    async def _stop(self, stored: Stored) -> Stored:
        reason = _reason(stored.stop_reason)
        await self._runner_of(stored.session.account_id).stop(stored.id, reason)
        return await self._is_over(stored, Outcome(reason=reason))

    async def _is_over(self, stored: Stored, outcome: Outcome) -> Stored:
        wanted: SessionState = "failed" if outcome.reason in BAD_ENDINGS else "stopped"
        # Before the row says so: after a crash in between it is told again, and never not at all.
        await self._hooks.call.session_stopped(stored.session, outcome)
        return await self._store.move(
            stored.id, wanted, stop_reason=outcome.reason, error=_sentence(outcome), stopped_at=now()
        )

    async def _settle(self, stored: Stored) -> Stored:
        return await self._store.move(stored.id, "settled", spent_nusd=await self._close(stored))

    async def _close(self, stored: Stored) -> int:
        """
        Settle the money, then have the runner forget the session; both may be repeated. Returns what was spent.

        The runner keeps an outcome until this call, and it may run an agent whose start it could tell nobody.
        """
        settlement = await self._hooks.call.budget_settle(stored.session, stored.reservation_id or "")
        await self._runner_of(stored.session.account_id).stop(stored.id, _ending(stored))
        return settlement.spent_nusd if settlement else stored.spent_nusd

    async def _note(self, stored: Stored, status: wire.SessionStatus) -> None:
        changes: dict[str, object] = {}
        if status.title and status.title != stored.session.title:
            changes["title"] = status.title[:200]
        last_active_at = now() - status.idle_s
        if last_active_at - (stored.last_active_at or 0) > 1:
            changes["last_active_at"] = last_active_at
        if changes:
            await self._store.note(stored.id, **changes)

    def _settings(self) -> SessionSettings:
        return self._live.current.section("sessions", SessionSettings)


_LOST = "the runner knows nothing of it: it was restarted or lost its state"


def facts(status: wire.SessionStatus) -> dict[str, object]:
    """The columns that a started process fills."""
    return {
        "confined_by": status.confined_by,
        "profile": status.profile,
        "network": status.network,
        "sandbox": status.sandbox,
        "started_at": now(),
        "last_active_at": now(),
    }


def _may_be_starting(stored: Stored) -> bool:
    """Another worker may be busy with it."""
    return now() - max(stored.created_at, stored.last_active_at or 0) < START_PATIENCE_S


def _ending(stored: Stored) -> StopReason:
    return "failed" if stored.state == "failed" else _reason(stored.stop_reason)


def _reason(text: str) -> StopReason:
    return text if text in ("idle", "deleted", "shutdown") else "asked"  # type: ignore[return-value]


def _sentence(outcome: Outcome) -> str:
    if outcome.reason not in BAD_ENDINGS and not outcome.exit_code:
        return ""
    tail = f" — it said last: {outcome.stderr_tail.strip()[-500:]}" if outcome.stderr_tail.strip() else ""
    return f"{outcome.detail or outcome.reason}{tail}"
