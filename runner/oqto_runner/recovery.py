"""What a killed runner left: its agents are ended, their logs closed, their endings kept for the core."""

from __future__ import annotations

from pathlib import Path

import structlog

from oqto_platform.canon import AgentError, AgentIdle, Event, SessionClosed
from oqto_platform.errors import DiskFull
from oqto_platform.types import Outcome, Session
from oqto_runner import cgroup, procfs
from oqto_runner.eventlog import EventLog
from oqto_runner.scope import Scope
from oqto_runner.store import Footprint, SessionFolder

INTERRUPTED = Outcome(
    reason="interrupted", detail="the runner was ended while the agent ran; resume the session to go on"
)

log = structlog.get_logger("oqto.sessions")


async def end_leftovers(folder: SessionFolder) -> None:
    """Kill the processes of an earlier run that are still there."""
    footprint = folder.footprint()
    if footprint is None or footprint.boot != procfs.boot_id():
        return
    group = cgroup.Cgroup(Path(footprint.group)) if footprint.group else None
    await Scope(folder.session_id, _leader(footprint), group, is_inherited=True).kill()


def interrupted(folder: SessionFolder, events: EventLog) -> tuple[Session, Outcome] | None:
    """Close a log that a crash left open; the session and how it ended, or `None` when it ended before."""
    session = folder.session()
    if session is None:
        return None
    if events.is_closed:
        outcome = folder.outcome()
        return (session, outcome) if outcome is not None else None
    log.warning("session was interrupted", session=session.id)
    try:
        events.append(*_closing(events))
    except DiskFull as exc:
        log.error(
            "an interrupted session could not be closed in its log", session=session.id, reason=exc.detail
        )
    folder.keep(INTERRUPTED)
    return session, INTERRUPTED


def _closing(events: EventLog) -> list[Event]:
    closed = SessionClosed(reason=INTERRUPTED.reason, detail=INTERRUPTED.detail)
    if not events.is_turn_open:
        return [closed]
    return [AgentError(error=INTERRUPTED.detail, recoverable=False), AgentIdle(stop_reason="error"), closed]


def _leader(footprint: Footprint) -> procfs.Proc | None:
    found = procfs.read(footprint.pid)
    return found if found is not None and found.started == footprint.started else None
