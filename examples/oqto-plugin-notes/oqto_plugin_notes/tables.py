"""Where notes are kept."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlmodel import Field, MetaData, SQLModel, func, select
from sqlmodel import Session as Transaction


class NoteRow(SQLModel, table=True):
    """The notes of one account on one session."""

    __tablename__: ClassVar[Any] = "notes_note"
    metadata: ClassVar[MetaData] = MetaData()

    account_id: str = Field(primary_key=True)
    session_id: str = Field(primary_key=True)
    text: str


def read(transaction: Transaction, account_id: str, session_id: str) -> str:
    row = transaction.get(NoteRow, (account_id, session_id))
    return row.text if row else ""


def write(transaction: Transaction, account_id: str, session_id: str, text: str) -> None:
    transaction.merge(NoteRow(account_id=account_id, session_id=session_id, text=text))


def count(transaction: Transaction, account_id: str) -> int:
    query = select(func.count()).where(NoteRow.account_id == account_id, NoteRow.text != "")
    return transaction.exec(query).one()
