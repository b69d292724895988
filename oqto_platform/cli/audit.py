"""`oqtoctl audit`: look at the audit log of this machine, and find out whether it is whole. Needs no server."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from oqto_platform.audit import export as exporting
from oqto_platform.audit import place, query
from oqto_platform.audit import verify as verifying
from oqto_platform.audit.record import AuditRecord
from oqto_platform.errors import Conflict, Invalid, NotFound

POLL_S = 0.5
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@click.group()
def audit() -> None:
    """The audit log of this machine."""


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose records."""
    options = (
        click.option(
            "--since", default="", help="A time (2026-05-01, 2026-05-01T12:00) or how long ago (2h, 7d)."
        ),
        click.option("--until", default="", help="A time or how long ago."),
        click.option("--actor", default="", help="Name or id of an account."),
        click.option("--action", default="", help="Such as sign-in, session or session.started."),
        click.option("--session", default="", help="Id of a session."),
        click.option("--outcome", type=click.Choice(["ok", "refused", "failed"]), help="How it ended."),
        click.option("--text", default="", help="Words anywhere in the record."),
        click.option("--file", default="", help="Another log than the configured one."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@audit.command()
@click.option("--file", default="", help="Another log than the configured one; only its chain is looked at.")
@click.option(
    "--first", type=click.IntRange(min=1), default=1, help="Older files up to this record were taken away."
)
@click.pass_context
def verify(ctx: click.Context, file: str, first: int) -> None:
    """Is every record there, as it was written? Names each one that is not; exit code 1."""
    path, seal = _place(ctx, file)
    report = verifying.verify(path, seal, first=first, is_sealed=not file)
    if ctx.obj["json"]:
        click.echo(msgspec.json.encode(report))
        sys.exit(0 if report.is_whole else 1)
    for note in report.notes:
        click.echo(f"note: {note}")
    for found in report.findings:
        click.echo(f"{found.file}, line {found.line}: {found.what}")
    if not report.is_whole:
        raise Conflict(f"{path}: the chain is broken in {len(report.findings)} places")
    click.echo(
        f"{path}: {report.records} records, unbroken; the last is {report.last} with hash {report.head}"
    )


@audit.command()
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, help="How many to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on as records come.")
@_filters
@click.pass_context
def tail(ctx: click.Context, /, lines: int, follow: bool, file: str, **wanted: Any) -> None:  # noqa: FBT001
    """The newest records, and with -f those that come."""
    path, seal = _place(ctx, file)
    chosen = _filter(**wanted)
    newest = query.page(path, seal, chosen, limit=max(lines, 1)).records[:lines][::-1]
    last = next((one.seq for one in query.backwards(path, seal)), 0)
    _show(ctx, newest)
    while follow:
        time.sleep(POLL_S)
        fresh = query.after(path, seal, last, chosen)
        last = fresh[-1].seq if fresh else last
        _show(ctx, fresh)


@audit.command("query")
@click.option("-n", "--limit", type=click.IntRange(min=1, max=100_000), default=100, help="At most so many.")
@_filters
@click.pass_context
def query_command(ctx: click.Context, /, limit: int, file: str, **wanted: Any) -> None:
    """Records by time, actor, action and session, newest first."""
    path, seal = _place(ctx, file)
    chosen, found, before = _filter(**wanted), list[AuditRecord](), 0
    while len(found) < limit:
        page = query.page(path, seal, chosen, limit=limit - len(found), before=before)
        found += page.records
        if page.next is None:
            break
        before = page.next
    _show(ctx, found)


@audit.command()
@click.option("--format", "form", type=click.Choice(get_args(exporting.Format)), default="jsonl")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file (0600); else to the terminal.",
)
@_filters
@click.pass_context
def export(
    ctx: click.Context, /, form: exporting.Format, output: Path | None, file: str, **wanted: Any
) -> None:
    """Records for another program, oldest first."""
    path, seal = _place(ctx, file)
    pieces = exporting.written(query.matching(path, seal, _filter(**wanted)), form)
    if output is None:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
        return
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        raise Conflict(f"{output} exists already; choose another name") from exc
    with os.fdopen(handle, "wb") as out:
        out.writelines(pieces)
    click.echo(f"written to {output}")


def _show(ctx: click.Context, found: list[AuditRecord]) -> None:
    for one in found:
        click.echo(msgspec.json.encode(one) if ctx.obj["json"] else _line(one))
    sys.stdout.flush()


def _line(one: AuditRecord) -> str:
    about = " ".join(part for part in (one.target, one.session) if part)
    fields = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in one.fields.items())
    outcome = "" if one.outcome == "ok" else one.outcome.upper()
    words = (
        f"{one.seq:>6}",
        exporting.time_of(one),
        f"{one.event:<24}",
        one.actor or "-",
        outcome,
        about,
        fields,
    )
    # A name or a path may hold control characters that a terminal would obey.
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "�", " ".join(word for word in words if word))


def _place(ctx: click.Context, file: str) -> tuple[Path, Path]:
    chosen = (
        place.Place(Path(file), Path(f"{file}.seal"))
        if file
        else place.configured(os.environ, ctx.obj["config"])
    )
    if chosen.path is None:
        raise NotFound("the audit log is switched off: [logging] audit_enabled = false")
    if not chosen.path.is_file() and not chosen.seal.is_file():
        raise NotFound(f"there is no audit log at {chosen.path}")
    return chosen.path, chosen.seal


def _filter(
    *, since: str, until: str, actor: str, action: str, session: str, outcome: str | None, text: str
) -> query.Filter:
    return query.Filter(
        since=_time("--since", since),
        until=_time("--until", until),
        actor=actor,
        event=action,
        session=session,
        outcome=outcome or "",
        text=text,
    )


def _time(option: str, text: str) -> int:
    """Milliseconds since the epoch; a time without a zone is UTC, as the records are."""
    if not text:
        return 0
    if ago := re.fullmatch(r"(\d+)([smhdw])", text):
        return int((time.time() - int(ago[1]) * UNITS_S[ago[2]]) * 1000)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise Invalid(f"{option}: {text!r} is no time; write 2026-05-01, 2026-05-01T12:00 or 2h, 7d") from exc
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
