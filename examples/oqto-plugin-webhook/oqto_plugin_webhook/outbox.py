"""Notices that were not delivered yet. They live in the database, so that a restart loses none."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec
from sqlmodel import Field, MetaData, SQLModel, col, func, select
from sqlmodel import Session as Transaction

from oqto_platform import Outcome, Session

FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 3600.0
AT_ONCE = 20


class NoticeRow(SQLModel, table=True):
    """One notice. `id` is the same when the core tells of the same end twice."""

    __tablename__: ClassVar[Any] = "webhook_notice"
    metadata: ClassVar[MetaData] = MetaData()

    id: str = Field(primary_key=True)
    body: str
    tries: int = 0
    made_at: float
    due_at: float = Field(index=True)
    problem: str = ""


class Notice(msgspec.Struct, frozen=True):
    """What is sent."""

    id: str
    body: str
    made_at: float
    tries: int = 0


def notice_of(session: Session, outcome: Outcome) -> Notice:
    facts = {"event": "session.stopped", "session": session, "outcome": outcome}
    return Notice(id=session.id, body=msgspec.json.encode(facts).decode(), made_at=time.time())


def put(transaction: Transaction, notice: Notice) -> None:
    """Note it; a session that ends again after it was resumed has a newer notice."""
    transaction.merge(
        NoticeRow(
            id=notice.id, body=notice.body, made_at=notice.made_at, due_at=notice.made_at, tries=0, problem=""
        )
    )


def due(transaction: Transaction, now: float) -> list[Notice]:
    rows = transaction.exec(
        select(NoticeRow).where(NoticeRow.due_at <= now).order_by(col(NoticeRow.due_at)).limit(AT_ONCE)
    )
    return [Notice(row.id, row.body, row.made_at, row.tries) for row in rows]


def delivered(transaction: Transaction, notice: Notice) -> None:
    row = transaction.get(NoticeRow, notice.id)
    if row and row.made_at == notice.made_at:
        transaction.delete(row)


def failed(transaction: Transaction, notice: Notice, problem: str, now: float) -> None:
    """Wait twice as long as before the last try."""
    row = transaction.get(NoticeRow, notice.id)
    if row and row.made_at == notice.made_at:
        row.tries, row.problem = notice.tries + 1, problem
        row.due_at = now + min(FIRST_WAIT_S * 2**notice.tries, LONGEST_WAIT_S)
        transaction.add(row)


def waiting(transaction: Transaction) -> tuple[int, str]:
    """How many wait, and what the last failing delivery said."""
    count = transaction.exec(select(func.count()).select_from(NoticeRow)).one()
    newest = (
        select(NoticeRow.problem)
        .where(NoticeRow.problem != "")
        .order_by(col(NoticeRow.due_at).desc())
        .limit(1)
    )
    return count, transaction.exec(newest).first() or ""
