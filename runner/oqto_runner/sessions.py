"""Every session of this runner: started, stopped, asked and followed by its id."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from oqto_platform import canon
from oqto_platform.canon import (
    Command,
    Compact,
    Event,
    FollowUp,
    NewSession,
    Prompt,
    SetSessionName,
    Steer,
    SwitchSession,
    TitleChanged,
)
from oqto_platform.errors import AgentFailed, Conflict, DiskFull, NotFound
from oqto_platform.hooks import Hooks
from oqto_platform.types import ConfinedPlan, Launch, Outcome, Session, SessionId, StopReason
from oqto_platform.wire import Done, Following, SessionStatus
from oqto_runner import browse, recovery, workspaces
from oqto_runner.agent import Agent
from oqto_runner.census import Census
from oqto_runner.deliveries import REMEMBERED, Deliveries
from oqto_runner.eventlog import EventLog, Push
from oqto_runner.harness import Harness
from oqto_runner.launching import Launcher
from oqto_runner.logs import Logs
from oqto_runner.rehearsal import Rehearsals
from oqto_runner.store import Footprint, SessionFolder
from oqto_runner.watchers import Watchers

COMMAND_TIMEOUT_S = 30.0
LONG_COMMAND_TIMEOUT_S = 600.0
SHUTDOWN_S = 3.4
SHUTDOWN_HOOK_S = 0.5
_LONG = (Compact, NewSession, SwitchSession)
_TEXTS = (Prompt, Steer, FollowUp)

log = structlog.get_logger("oqto.sessions")


@dataclass
class Life:
    """A session that has a process. `watch` ends when the process is gone and everybody was told."""

    agent: Agent
    events: EventLog
    confined: ConfinedPlan
    deliveries: Deliveries
    watch: asyncio.Task[None]


class Sessions:
    """The sessions under `root`. `harnesses` maps a name to what can be started."""

    def __init__(self, root: Path, runner_id: str, hooks: Hooks, harnesses: Mapping[str, Harness]) -> None:
        self._root = root
        self._hooks = hooks
        self._watchers = Watchers(self.status)
        self._launcher = Launcher(hooks, harnesses, self._watchers.changed)
        self._harnesses = harnesses
        self._rehearsals = Rehearsals(hooks)
        self._logs = Logs(root, runner_id)
        self._lives: dict[str, Life] = {}
        self._starts: dict[str, asyncio.Task[SessionStatus]] = {}
        self._ended: dict[str, SessionStatus] = {}

    @property
    def has_processes(self) -> bool:
        return bool(self._lives or self._starts)

    # Starting

    async def start(self, session: Session, launch: Launch) -> SessionStatus:
        """Start the agent, or answer how it already runs; a second caller waits for the first's start."""
        folder = SessionFolder(self._root, session.id)
        workspaces.check_place(browse.resolved(session.workspace))
        if (life := self._lives.get(session.id)) is not None and life.agent.state in ("stopping", "dead"):
            await asyncio.shield(life.watch)
        if session.id in self._lives and session.id not in self._starts:
            return self.status(session.id)
        if session.id not in self._starts:
            start = asyncio.create_task(self._start(folder, session, launch))
            start.add_done_callback(lambda _: self._starts.pop(session.id, None))
            self._starts[session.id] = start
        return await self._started(session.id)

    async def _started(self, session_id: str) -> SessionStatus:
        start = self._starts[session_id]
        await asyncio.wait([start])
        if start.cancelled():
            raise Conflict("the session was stopped while it was starting")
        return start.result()

    async def _start(self, folder: SessionFolder, session: Session, launch: Launch) -> SessionStatus:
        folder.make()
        events = self._logs.take(session.id)
        try:
            agent, confined = await self._launcher.launch(folder, session, launch, events)
        except BaseException:  # by cancelling, too: its log would stay open
            folder.forget(Footprint)
            await self._logs.give_back(session.id, events)
            raise
        life = self._begin(folder, agent, events, confined)
        try:
            await agent.ready()
        except asyncio.CancelledError:
            await agent.stop("asked", "stopped while it was starting")
            await life.watch
            raise
        except AgentFailed:
            await life.watch
            self._take_note(session.id)
            raise
        await self._hooks.call.session_started(session)
        self._rehearsals.begin(self._harnesses[session.harness])
        return self.status(session.id)

    def _begin(self, folder: SessionFolder, agent: Agent, events: EventLog, confined: ConfinedPlan) -> Life:
        self._take_note(agent.session.id)
        watch = asyncio.create_task(self._watch(folder, agent))
        deliveries = Deliveries(events.client_ids(REMEMBERED))
        life = self._lives[agent.session.id] = Life(agent, events, confined, deliveries, watch)
        self._watchers.changed(agent.session.id)
        return life

    async def _watch(self, folder: SessionFolder, agent: Agent) -> None:
        """Until the process is gone: keep its outcome, tell the plugins, give the log back."""
        session_id = agent.session.id
        await agent.finished()
        outcome = agent.outcome or Outcome(reason="failed")
        self._keep(folder, outcome)
        folder.forget(Footprint)
        self._keep(folder, msgspec.structs.replace(agent.session, title=agent.title))
        self._ended[session_id] = self._ended_status(self._lives[session_id], outcome)
        await self._hooks.call.session_stopped(agent.session, outcome)
        await self._logs.give_back(session_id, self._lives[session_id].events)
        del self._lives[session_id]
        self._watchers.changed(session_id)
        log.info("session ended", session=session_id, reason=outcome.reason, detail=outcome.detail)

    def _keep(self, folder: SessionFolder, value: Session | Outcome) -> None:
        try:
            folder.keep(value)
        except (OSError, DiskFull) as exc:
            log.error("the end of a session could not be kept", session=folder.session_id, reason=str(exc))

    # Ending

    async def stop(self, session_id: SessionId, reason: StopReason) -> None:
        """End the agent; returns when nothing of it is left. Harmless when it does not run."""
        if (start := self._starts.get(session_id)) is not None:
            start.cancel()
            await asyncio.wait([start])
        if (life := self._lives.get(session_id)) is not None:
            await self._end(life, reason)
        self._take_note(session_id)

    async def _end(self, life: Life, reason: StopReason) -> None:
        if life.agent.state not in ("dead", "stopping"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_HOOK_S if reason == "shutdown" else None):
                    await self._hooks.call.session_stopping(life.agent.session, reason)
        self._watchers.changed(life.agent.session.id)
        await life.agent.stop(reason)
        await asyncio.shield(life.watch)

    def _take_note(self, session_id: str) -> None:
        self._ended.pop(session_id, None)
        SessionFolder(self._root, session_id).forget(Outcome)

    async def delete(self, session_id: SessionId) -> None:
        """Stop, then remove everything that is kept about the session."""
        await self.stop(session_id, "deleted")
        await self._logs.drop(session_id)
        await asyncio.to_thread(SessionFolder(self._root, session_id).remove)

    # Asking

    def status(self, session_id: SessionId) -> SessionStatus:
        """Raises `NotFound` for a session that has neither a process nor an unreported ending."""
        life = self._lives.get(session_id)
        has_ended = life is None or life.agent.outcome is not None
        if has_ended and (ended := self._ended.get(session_id)) is not None:
            return ended
        if life is None:
            raise NotFound(f"session {session_id} does not run here")
        return SessionStatus(
            session_id=session_id,
            state=life.agent.state,
            idle_s=round(life.agent.idle_s, 3),
            seq=life.events.last,
            pid=life.agent.process.pid if life.agent.outcome is None else None,
            outcome=life.agent.outcome,
            confined_by=life.confined.confined_by,
            profile=life.confined.profile,
            network=life.confined.network,
            sandbox=life.confined.summary,
            title=life.agent.title,
        )

    def list(self) -> list[SessionStatus]:
        """Every session with a process or an ending that the core has not taken note of."""
        return [self.status(SessionId(session_id)) for session_id in {**self._ended, **self._lives}]

    def _ended_status(self, life: Life, outcome: Outcome) -> SessionStatus:
        return SessionStatus(
            session_id=life.agent.session.id,
            state="dead",
            seq=life.events.last,
            confined_by=life.confined.confined_by,
            title=life.agent.title,
            outcome=outcome,
        )

    async def send(self, session_id: SessionId, command: Command) -> Any:
        """The agent's answer to `command`. A repeated `client_id` has no second effect."""
        life = self._lives.get(session_id)
        if life is None:
            raise Conflict(f"the agent of session {session_id} does not run; resume the session first")
        timeout_s = LONG_COMMAND_TIMEOUT_S if isinstance(command, _LONG) else COMMAND_TIMEOUT_S
        if isinstance(command, SetSessionName):
            return await self._name(life.agent, command)
        if not isinstance(command, _TEXTS):
            return await life.agent.command(command, timeout_s)
        size = len(canon.encode(command))

        async def deliver() -> Any:
            # Asked first, because a harness that has taken a message cannot give it back.
            life.events.reserve.ensure_room(2 * size)
            return await life.agent.command(command, timeout_s)

        return await life.deliveries.once(command.client_id, deliver)

    async def _name(self, agent: Agent, command: SetSessionName) -> Any:
        try:
            return await agent.command(command, COMMAND_TIMEOUT_S)
        except AgentFailed:  # the name is the session's, whether its agent knows names or not
            agent.tell(TitleChanged(title=command.name))

    def watch(self) -> AsyncGenerator[Done | SessionStatus, None]:
        """See `Watchers.watch`."""
        return self._watchers.watch()

    def tell(self, session_id: SessionId, event: Event) -> bool:
        """Let a plugin add `event` to the log of a living agent; `False` when there is none."""
        life = self._lives.get(session_id)
        return life is not None and life.agent.tell(event)

    async def follow(
        self, session_id: SessionId, after: int, live: Push
    ) -> AsyncGenerator[Following | bytes, None]:
        """The events of a session, whether it runs or not: see `EventLog.follow`. Raises `NotFound`."""
        if not SessionFolder(self._root, session_id).exists():
            raise NotFound(f"session {session_id} has no events here")
        events = self._logs.take(session_id)
        try:
            async for chunk in events.follow(after, live):
                yield chunk
        finally:
            await self._logs.give_back(session_id, events)

    async def recover(self) -> None:
        """Bring order into what an earlier run left: no process, no open log, endings told."""
        for path in sorted(self._root.iterdir()) if self._root.exists() else ():
            if path.is_dir():
                await self._recover(SessionFolder(self._root, path.name))

    async def _recover(self, folder: SessionFolder) -> None:
        if folder.footprint() is None and folder.outcome() is None:
            return  # ended in order, and the core knows
        await recovery.end_leftovers(folder)
        events = self._logs.take(folder.session_id)
        try:
            ended = recovery.interrupted(folder, events)
            folder.forget(Footprint)
            if ended is None:
                return
            session, outcome = ended
            self._ended[session.id] = SessionStatus(
                session_id=session.id, state="dead", seq=events.last, title=session.title, outcome=outcome
            )
        finally:
            await self._logs.give_back(folder.session_id, events)
        await self._hooks.call.session_stopped(session, outcome)

    async def shutdown(self) -> None:
        """End every session with reason `shutdown`, by force what takes longer than `SHUTDOWN_S`."""
        ids = {*self._starts, *self._lives}
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await self._rehearsals.close()
                await asyncio.gather(*(self._shut_down(SessionId(session_id)) for session_id in ids))
                await self._logs.close()
        except TimeoutError:
            log.error("sessions did not end in time", sessions=sorted(self._lives))
            for life in self._lives.values():
                life.agent.process.scope.kill_now()

    async def observe(self) -> None:
        """Look who is there, for agents that no control group holds together."""
        loose = [life.agent for life in self._lives.values() if life.agent.process.scope.group is None]
        if not loose:
            return
        census = await asyncio.to_thread(Census.taken)
        for agent in loose:
            # One that ends is looked at by who ends it, with a newer table.
            if agent.state not in ("stopping", "dead"):
                agent.process.scope.members(census)

    async def _shut_down(self, session_id: SessionId) -> None:
        if (start := self._starts.get(session_id)) is not None:
            start.cancel()
            await asyncio.wait([start])
        if (life := self._lives.get(session_id)) is not None:
            await self._end(life, "shutdown")
