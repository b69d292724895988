"""What an admin asks for: health in full, everybody's sessions."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.di import NamedDependency

from oqto_platform.health import all_checks
from oqto_platform.services import Services
from oqto_platform.sessions.states import LIVE
from oqto_platform.types import Check


class SessionLine(msgspec.Struct, frozen=True, kw_only=True):
    """A live session of anybody: whose, where, in which state. No content."""

    id: str
    account_id: str
    workspace: str
    harness: str
    state: str
    created_at: float


@get("/api/admin/health", opt={"admin": True})
async def health(services: NamedDependency[Services]) -> list[Check]:
    return await all_checks(services)


@get("/api/admin/sessions", opt={"admin": True})
async def sessions(services: NamedDependency[Services]) -> list[SessionLine]:
    from oqto_platform.sessions.store import Store

    found = await Store(services.db).in_states(LIVE)
    return [
        SessionLine(
            id=stored.id,
            account_id=stored.session.account_id,
            workspace=stored.session.workspace,
            harness=stored.session.harness,
            state=stored.state,
            created_at=stored.created_at,
        )
        for stored in found
    ]


HANDLERS = [health, sessions]
