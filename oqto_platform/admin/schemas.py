"""What the routes of the audit log give."""

from __future__ import annotations

import msgspec

from oqto_platform.audit.record import AuditRecord
from oqto_platform.audit.verify import AuditFinding


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Records, newest first. `next`: ask again with `before` = this number. `events`: what can be filtered by."""

    records: list[AuditRecord]
    next: int | None
    events: list[str]


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the chain is whole, and what is wrong with it."""

    is_whole: bool
    records: int
    last: int
    head: str
    files: int
    findings: list[AuditFinding]
    notes: list[str]
