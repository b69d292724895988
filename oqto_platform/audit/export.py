"""Records for other programs: the lines themselves, one JSON document, or a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from oqto_platform.audit.record import AuditRecord

Format = Literal["jsonl", "json", "csv"]
MEDIA: dict[str, str] = {"jsonl": "application/jsonl", "json": "application/json", "csv": "text/csv"}
COLUMNS = ("seq", "time", "event", "actor", "account", "door", "target", "session", "outcome", "request", "fields", "prev")  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def written(found: Iterable[tuple[bytes, AuditRecord]], form: Format) -> Iterator[bytes]:
    """The export in pieces. `jsonl` keeps the lines as they are, so that `verify` can be run on it."""
    if form == "csv":
        yield _row(COLUMNS)
        yield from (_row(cells(one)) for _, one in found)
    elif form == "json":
        yield from _array(line for line, _ in found)
    else:
        yield from (line + b"\n" for line, _ in found)


def cells(one: AuditRecord) -> list[str]:
    """One row. A cell that a spreadsheet would take for a formula gets a quote: names come from outside."""
    fields = msgspec.json.encode(one.fields).decode() if one.fields else ""
    values = (
        str(one.seq), time_of(one), one.event, one.actor, one.account, one.door, one.target, one.session,
        one.outcome, one.request, fields, one.prev,
    )  # fmt: skip
    return [f"'{value}" if value.startswith(FORMULA) else value for value in values]


def time_of(one: AuditRecord) -> str:
    """When, as RFC 3339 in UTC with milliseconds."""
    return (
        datetime.fromtimestamp(one.ts / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _array(lines: Iterator[bytes]) -> Iterator[bytes]:
    separator = b"[\n"
    for line in lines:
        yield separator + line
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _row(values: Iterable[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue().encode()
