"""Looking records up, newest first, without reading more than is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from oqto_platform.audit import files, places, record
from oqto_platform.audit.record import AuditRecord

MOST_LINES = 200_000
"""Lines that one page looks at; then it answers with what it has and where to go on."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is looked for; empty means anything. Times in milliseconds since the epoch.

    `event` is a name or its beginning up to a dot (`session` finds `session.started`); `actor` is a name or an
    account id; `text` stands anywhere in the line, whatever its case.
    """

    since: int = 0
    until: int = 0
    event: str = ""
    actor: str = ""
    session: str = ""
    outcome: str = ""
    text: str = ""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """`next`: ask again with `before` = this number; `None` at the end."""

    records: list[AuditRecord]
    next: int | None = None


def page(path: Path, seal: Path, wanted: Filter, *, limit: int, before: int = 0) -> Page:
    """At most `limit` records that fit, newest first, with numbers below `before` (0: from the end)."""
    found: list[AuditRecord] = []
    looked_at = 0
    for one in backwards(path, seal):
        if before and one.seq >= before:
            continue
        if wanted.since and one.ts < wanted.since:
            return Page(records=found)
        looked_at += 1
        if fits(one, wanted):
            found.append(one)
        if len(found) >= limit or looked_at >= MOST_LINES:
            return Page(records=found, next=one.seq if one.seq > 1 else None)
    return Page(records=found)


def after(path: Path, seal: Path, seq: int, wanted: Filter) -> list[AuditRecord]:
    """What was written since the record `seq`, oldest first."""
    fresh: list[AuditRecord] = []
    for one in backwards(path, seal):
        if one.seq <= seq:
            break
        if fits(one, wanted):
            fresh.append(one)
    return fresh[::-1]


def matching(path: Path, seal: Path, wanted: Filter) -> Iterator[tuple[bytes, AuditRecord]]:
    """Every line that fits, oldest first, with its record."""
    with places.snapshot(path, seal) as (opened, _):
        for file in opened:
            for line in files.lines(file.handle, file.size):
                one = record.read(line)
                if one is not None and fits(one, wanted):
                    yield line, one


def backwards(path: Path, seal: Path) -> Iterator[AuditRecord]:
    """Every record, newest first; what is none is passed over (`verify` tells it)."""
    with places.snapshot(path, seal) as (opened, _):
        for file in reversed(opened):
            for line in files.lines_backwards(file.handle, file.size):
                if (one := record.read(line)) is not None:
                    yield one


def fits(one: AuditRecord, wanted: Filter) -> bool:
    """Whether a record is looked for."""
    return (
        one.ts >= wanted.since
        and (not wanted.until or one.ts <= wanted.until)
        and (not wanted.event or one.event == wanted.event or one.event.startswith(f"{wanted.event}."))
        and wanted.actor in ("", one.actor, one.account)
        and wanted.session in ("", one.session)
        and wanted.outcome in ("", one.outcome)
        and (not wanted.text or wanted.text.casefold() in record.encode(one).decode().casefold())
    )
