"""The audit log over HTTP, for admins: look records up, verify the chain, take records out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, Parameter, QueryParameter
from litestar.response import Stream

from oqto_platform.admin.schemas import AuditPage, AuditReport
from oqto_platform.audit import export as exporting
from oqto_platform.audit import query
from oqto_platform.audit import verify as verifying
from oqto_platform.audit.events import AuditExported, kinds
from oqto_platform.audit.query import Filter
from oqto_platform.errors import Conflict
from oqto_platform.services import Services
from oqto_platform.types import Identity

PIECES = 500
"""Lines that a thread reads before the event loop sends them."""

Limit = Annotated[int, Parameter(ge=1, le=500)]
Number = Annotated[int, Parameter(ge=0)]
Text = Annotated[str, Parameter(max_length=200)]


@get("/api/admin/audit", opt={"admin": True})
async def list_records(
    services: NamedDependency[Services],
    identity: NamedDependency[Identity],
    since: Number = 0,
    until: Number = 0,
    event: Text = "",
    actor: Text = "",
    session: Text = "",
    outcome: Text = "",
    text: Text = "",
    before: Number = 0,
    limit: Limit = 50,
) -> AuditPage:
    """Times are milliseconds since the epoch."""
    await services.access.check_admin(identity, "audit.read")
    wanted = Filter(
        since=since, until=until, event=event, actor=actor, session=session, outcome=outcome, text=text
    )
    path, seal = _place(services)
    page = await asyncio.to_thread(query.page, path, seal, wanted, limit=limit, before=before)
    return AuditPage(records=page.records, next=page.next, events=sorted(kinds()))


@get("/api/admin/audit/verify", opt={"admin": True})
async def verify(
    services: NamedDependency[Services], identity: NamedDependency[Identity], first: FromQuery[int] = 1
) -> AuditReport:
    """`first`: older files were taken away on purpose, up to the record before it."""
    await services.access.check_admin(identity, "audit.read")
    path, seal = _place(services)
    report = await asyncio.to_thread(verifying.verify, path, seal, first=max(first, 1))
    return AuditReport(is_whole=report.is_whole, **msgspec.structs.asdict(report))


@get("/api/admin/audit/export", opt={"admin": True})
async def export(
    services: NamedDependency[Services],
    identity: NamedDependency[Identity],
    form: Annotated[exporting.Format, QueryParameter(name="format")] = "jsonl",
    since: Number = 0,
    until: Number = 0,
    event: Text = "",
    actor: Text = "",
    session: Text = "",
    outcome: Text = "",
    text: Text = "",
) -> Stream:
    """Everything that fits, oldest first. Taking it out is itself recorded, and that is the last record."""
    await services.access.check_admin(identity, "audit.export")
    path, seal = _place(services)
    wanted = Filter(
        since=since, until=until, event=event, actor=actor, session=session, outcome=outcome,
        text=text,
    )  # fmt: skip
    services.audit(AuditExported(format=form, filter=msgspec.to_builtins(wanted)))
    return Stream(
        _off_the_loop(exporting.written(query.matching(path, seal, wanted), form)),
        media_type=exporting.MEDIA[form],
        headers={"content-disposition": f'attachment; filename="oqto-audit.{form}"'},
    )


def _place(services: Services) -> tuple[Path, Path]:
    audit = services.audit
    if audit.path is None or audit.seal is None:
        raise Conflict("the audit log is switched off: [logging] audit_enabled = false")
    return audit.path, audit.seal


async def _off_the_loop(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def some() -> bytes:
        return b"".join(islice(pieces, PIECES))

    while chunk := await asyncio.to_thread(some):
        yield chunk


HANDLERS = [list_records, verify, export]
