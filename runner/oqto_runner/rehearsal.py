"""Run, once for each version of an agent program, what makes its later starts faster; confined like an agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile

import structlog

from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks
from oqto_platform.types import AccountId, Outcome, Session, SessionId, SpawnPlan
from oqto_runner import process
from oqto_runner.harness import Harness, Rehearsing

LONGEST_S = 60.0
NICENESS = 10

log = structlog.get_logger("oqto.sessions")


class Rehearsals:
    """One at a time, in the background; a rehearsal that fails costs nobody anything but speed."""

    def __init__(self, hooks: Hooks) -> None:
        # Nobody else: a rehearsal is no session, and the core never hears of it.
        self._hooks = hooks.only_answering("confine")
        self._running: asyncio.Task[None] | None = None
        self._tried: set[str] = set()

    def begin(self, harness: Harness) -> None:
        """Rehearse `harness` if it asks for that and this runner has not tried yet."""
        if not isinstance(harness, Rehearsing) or harness.name in self._tried or self._running is not None:
            return
        self._tried.add(harness.name)
        self._running = asyncio.create_task(self._rehearse(harness, harness.name))

    async def close(self) -> None:
        """End the one that runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _rehearse(self, harness: Rehearsing, name: str) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="oqto-rehearsal-") as workspace:
                plan = harness.rehearsal(workspace)
                if plan is not None and await self._run(name, plan) == 0:
                    harness.keep_rehearsal()
        except (OqtoError, OSError) as exc:
            log.warning("an agent program could not be prepared", harness=name, reason=str(exc))
        finally:
            self._running = None

    async def _run(self, name: str, plan: SpawnPlan) -> int | None:
        """The exit code; `None` when it had to be ended."""
        session = Session(
            id=SessionId(f"rehearsal-{name}"), account_id=AccountId(""), workspace=plan.cwd, harness=name
        )
        try:
            return await self._execute(session, plan)
        finally:
            await self._hooks.call.session_stopped(session, Outcome(reason="exited"))

    async def _execute(self, session: Session, plan: SpawnPlan) -> int | None:
        confined = await self._hooks.call.confine(session, plan)
        if confined is None:
            return None
        program = await process.start(confined, session.id, lambda _: None, lambda: None)
        try:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PGRP, program.pid, NICENESS)
            program.close_input()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_S):
                    await program.exited.wait()
            return program.exit_code
        finally:
            await program.finish()
