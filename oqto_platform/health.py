"""Is the server able to work? `/health/live` for a supervisor, `/health/ready` for a balancer and people."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get

from oqto_platform.auth.guards import identify
from oqto_platform.errors import NotSignedIn, OqtoError
from oqto_platform.hooks import Mode
from oqto_platform.services import Services
from oqto_platform.types import Check

CONFIG, AUDIT = "config", "audit log"


class HealthView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`checks` only for a signed-in admin: they name paths and plugins."""

    status: str
    checks: list[Check] = []


PATHS = ("/health/live", "/health/ready")
"""What is answered while the worker still opens."""


@get("/health/live", opt={"public": True})
async def live() -> HealthView:
    return HealthView(status="ok")


@get("/health/ready", opt={"public": True})
async def ready(request: Request[Any, Any, Any]) -> Response[HealthView]:
    if not request.app.state.opening.is_done:
        return Response(HealthView(status="starting"), status_code=503)
    services: Services = request.app.state.services
    checks = await all_checks(services)
    # A typo in a file must not take a server that works on as before away from its people.
    # Nor does a log that somebody cut help anybody who is sent away.
    # Nor does one that misses the news because a plugin that is only told something keeps failing.
    # Nor does what an operator chose to start with all the same.
    is_ok = all(check.ok or check.name == CONFIG or _is_only_told(services, check) for check in checks)
    shown = checks if await _is_admin(request) else []
    view = HealthView(status="ok" if is_ok else "failing", checks=shown)
    return Response(view, status_code=200 if is_ok else 503)


def _is_only_told(services: Services, check: Check) -> bool:
    if check.name in services.start.known:
        return True
    if check.name == AUDIT:
        return not services.audit.failure
    policy = services.hooks.policies.get(check.name.rpartition(".")[2])
    return policy is not None and policy.mode is Mode.NOTIFY


async def all_checks(services: Services) -> list[Check]:
    """Database, runner (with its plugins) and the plugins of the core."""
    answers = await services.hooks.call.health()
    ours = [check for found in answers.values() for check in found]
    return [
        await _database(services),
        _config(services),
        _audit(services),
        *services.start.again(),
        *await _runner(services),
        *ours,
    ]


def _audit(services: Services) -> Check:
    """Whether the last record could be written, and the log was as it had been left."""
    audit = services.audit
    if audit.path is None:
        return Check(name=AUDIT, ok=True, detail="switched off: [logging] audit_enabled = false")
    if audit.failure:
        return Check(name=AUDIT, ok=False, detail=audit.failure, repair="free space or mend the permissions")
    if audit.broken:
        repair = "keep the files as they are and find out who wrote to them: oqtoctl audit verify"
        return Check(name=AUDIT, ok=False, detail=audit.broken, repair=repair)
    return Check(name=AUDIT, ok=True, detail=str(audit.path))


def _config(services: Services) -> Check:
    live = services.live
    repair = "mend the file; it is taken at once. See: oqtoctl config status"
    detail = live.error or live.wanted.source
    if live.pending:
        detail += f"; waits for a restart: {', '.join(live.pending)}"
    return Check(name=CONFIG, ok=not live.error, detail=detail, repair=repair if live.error else "")


async def _database(services: Services) -> Check:
    try:
        await services.db.read(
            lambda transaction: transaction.connection().exec_driver_sql("select 1").scalar()
        )
    except Exception as exc:  # noqa: BLE001 (whatever the driver says is the detail of the check)
        return Check(
            name="database", ok=False, detail=str(exc), repair=f"check {services.db.path} and its disk"
        )
    return Check(name="database", ok=True, detail=str(services.db.path))


async def _runner(services: Services) -> list[Check]:
    try:
        reply = await services.runner.health()
    except OqtoError as exc:
        return [Check(name="runner", ok=False, detail=exc.detail, repair="see the runner's log")]
    ours = Check(name="runner", ok=True, detail=services.runner.address.socket)
    return [ours, *(check for found in reply.checks.values() for check in found)]


async def _is_admin(request: Request[Any, Any, Any]) -> bool:
    try:
        identity = await identify(request)
    except NotSignedIn:
        return False
    return identity is not None and identity.is_admin


HANDLERS = [live, ready]
