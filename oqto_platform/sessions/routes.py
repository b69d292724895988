"""Sessions over HTTP: start, list, rename, stop, resume, delete; and the models they may use."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, Parameter

from oqto_platform.audit.events import (
    Outcome,
    SessionDeleted,
    SessionRenamed,
    SessionResumed,
    SessionStarted,
    SessionStopped,
)
from oqto_platform.errors import OqtoError
from oqto_platform.services import Services
from oqto_platform.sessions.schemas import NewSession, SessionChange, SessionView
from oqto_platform.types import Identity

Limit = Annotated[int, Parameter(ge=1, le=1000)]


@get("/api/sessions")
async def list_sessions(
    services: NamedDependency[Services], identity: NamedDependency[Identity], limit: Limit = 100
) -> list[SessionView]:
    return await services.sessions.list(identity, limit)


@post("/api/sessions")
async def start_session(
    data: JSONBody[NewSession], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> SessionView:
    try:
        view = await services.sessions.start(identity, data)
    except OqtoError as exc:
        services.audit(
            SessionStarted(
                outcome=_outcome(exc), workspace=data.workspace, harness=data.harness, reason=exc.detail
            )
        )
        raise
    services.audit(
        SessionStarted(
            session=view.id,
            workspace=view.workspace,
            harness=view.harness,
            provider=view.provider,
            model=view.model,
            confined_by=view.confined_by,
        )
    )
    return view


@get("/api/sessions/{session_id:str}")
async def show_session(
    session_id: FromPath[str], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> SessionView:
    return await services.sessions.get(identity, session_id)


@patch("/api/sessions/{session_id:str}")
async def change_session(
    session_id: FromPath[str],
    data: JSONBody[SessionChange],
    services: NamedDependency[Services],
    identity: NamedDependency[Identity],
) -> SessionView:
    view = await services.sessions.rename(identity, session_id, data.title)
    services.audit(SessionRenamed(session=session_id))
    return view


@post("/api/sessions/{session_id:str}/stop", status_code=200)
async def stop_session(
    session_id: FromPath[str], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> SessionView:
    view = await services.sessions.stop(identity, session_id)
    services.audit(SessionStopped(session=session_id))
    return view


@post("/api/sessions/{session_id:str}/resume", status_code=200)
async def resume_session(
    session_id: FromPath[str], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> SessionView:
    try:
        view = await services.sessions.resume(identity, session_id)
    except OqtoError as exc:
        services.audit(SessionResumed(session=session_id, outcome=_outcome(exc), reason=exc.detail))
        raise
    services.audit(SessionResumed(session=session_id))
    return view


@delete("/api/sessions/{session_id:str}")
async def delete_session(
    session_id: FromPath[str], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> None:
    await services.sessions.delete(identity, session_id)
    services.audit(SessionDeleted(session=session_id))


def _outcome(exc: OqtoError) -> Outcome:
    """Somebody said no, or something broke."""
    return "refused" if exc.status < 500 else "failed"  # noqa: PLR2004


HANDLERS = [
    list_sessions,
    start_session,
    show_session,
    change_session,
    stop_session,
    resume_session,
    delete_session,
]
