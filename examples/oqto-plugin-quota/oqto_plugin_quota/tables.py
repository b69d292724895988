"""Which sessions were started on which day."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlmodel import Field, MetaData, SQLModel, func, select
from sqlmodel import Session as Transaction

from oqto_platform import Session


class StartedRow(SQLModel, table=True):
    """A session that was let through."""

    __tablename__: ClassVar[Any] = "quota_started"
    metadata: ClassVar[MetaData] = MetaData()

    session_id: str = Field(primary_key=True)
    account_id: str = Field(index=True)
    day: str


def count(transaction: Transaction, session: Session, day: str, limit: int) -> bool:
    """Note the session when there is room for it. One that was noted before has its room."""
    if transaction.get(StartedRow, session.id):
        return True
    query = select(func.count()).where(StartedRow.account_id == session.account_id, StartedRow.day == day)
    if transaction.exec(query).one() >= limit:
        return False
    transaction.add(StartedRow(session_id=session.id, account_id=session.account_id, day=day))
    return True
