"""Session rows, in and out as Structs. Every change of state goes through `move`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlmodel import Session as Transaction
from sqlmodel import col, func, select

from oqto_platform.clock import now
from oqto_platform.db import Database
from oqto_platform.db.models import SessionRow
from oqto_platform.errors import Conflict, LimitReached, NotFound
from oqto_platform.sessions.states import LIVE, check_move
from oqto_platform.types import Session, SessionId, SessionState
from oqto_platform.workspaces.recent import move_to_top


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A session row: the session, and what became of it."""

    session: Session
    state: SessionState
    stop_reason: str
    reservation_id: str | None
    spent_nusd: int
    error: str
    confined_by: str
    profile: str
    network: str
    sandbox: str
    created_at: float
    started_at: float | None
    stopped_at: float | None
    last_active_at: float | None

    @property
    def id(self) -> SessionId:
        return self.session.id


class Store:
    """The session table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, session: Session, *, limit: int) -> Stored:
        """
        A new row, `starting`, in the workspace that the account uses now.

        Raises `LimitReached` when the account has `limit` live sessions.
        Its reservation is noted as "some, not known yet": from here on a crash settles what there may be.
        """
        row = SessionRow(
            **msgspec.to_builtins(session), state="starting", created_at=now(), reservation_id=""
        )

        def insert(transaction: Transaction) -> None:
            _check_limit(transaction, session.account_id, limit)
            transaction.add(row)
            move_to_top(transaction, session.account_id, session.workspace)

        await self._db.write(insert)
        return _stored(row)

    async def get(self, session_id: str) -> Stored:
        """Raises `NotFound`."""
        row = await self._db.read(lambda t: t.get(SessionRow, session_id))
        if row is None:
            raise NotFound("there is no such session")
        return _stored(row)

    async def of_account(self, account_id: str, limit: int) -> list[Stored]:
        """The sessions of an account that were used last."""
        query = select(SessionRow).where(SessionRow.account_id == account_id)
        used = func.coalesce(SessionRow.last_active_at, SessionRow.created_at)
        query = query.order_by(used.desc()).limit(limit)
        return [_stored(row) for row in await self._db.read(lambda t: t.exec(query).all())]

    async def in_states(self, states: Iterable[SessionState]) -> list[Stored]:
        """Everybody's sessions in one of `states`, oldest first."""
        query = (
            select(SessionRow)
            .where(col(SessionRow.state).in_(list(states)))
            .order_by(col(SessionRow.created_at))
        )
        return [_stored(row) for row in await self._db.read(lambda t: t.exec(query).all())]

    async def live_accounts(self) -> list[str]:
        """Who has a session that is not over."""
        query = select(SessionRow.account_id).where(col(SessionRow.state).in_(list(LIVE))).distinct()
        return list(await self._db.read(lambda t: t.exec(query).all()))

    async def counted(self) -> dict[str, int]:
        """How many sessions there are in each state."""
        query = select(SessionRow.state, func.count()).group_by(SessionRow.state)
        return dict(await self._db.read(lambda t: t.exec(query).all()))

    async def move(self, session_id: str, wanted: SessionState, **changes: Any) -> Stored:
        """
        Change the state, checked against the table of moves, with other columns in one transaction.

        A power cut ends the agent of a row that says `running`: if it says `starting` then, the same follows.
        """

        def change(transaction: Transaction) -> Stored:
            row = _row(transaction, session_id)
            check_move(row.state, wanted)
            return _stored(_changed(row, changes | {"state": wanted}))

        return await self._db.write(change, outlives_power=wanted != "running")

    async def restart(self, session_id: str, *, limit: int) -> Stored:
        """A session that is over begins again, within the account's limit."""

        def change(transaction: Transaction) -> Stored:
            row = _row(transaction, session_id)
            check_move(row.state, "starting")
            _check_limit(transaction, row.account_id, limit)
            fresh = {
                "state": "starting",
                "stop_reason": "",
                "error": "",
                "stopped_at": None,
                "last_active_at": now(),
            }
            return _stored(_changed(row, fresh))

        return await self._db.write(change)

    async def note(self, session_id: str, **changes: Any) -> None:
        """Change other columns than the state."""
        await self._db.write(lambda t: _changed(_row(t, session_id), changes) and None)

    async def must_be_starting(self, session_id: str) -> None:
        """Raises `Conflict` when the session was ended while it was starting."""
        if (await self.get(session_id)).state != "starting":
            raise Conflict("the session was stopped while it was starting")

    async def remove(self, session_id: str) -> None:
        """Delete the row."""
        await self._db.write(lambda t: t.delete(_row(t, session_id)))


def _row(transaction: Transaction, session_id: str) -> SessionRow:
    row = transaction.get(SessionRow, session_id)
    if row is None:
        raise NotFound("there is no such session")
    return row


def _changed(row: SessionRow, changes: dict[str, Any]) -> SessionRow:
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def _check_limit(transaction: Transaction, account_id: str, limit: int) -> None:
    query = select(func.count()).select_from(SessionRow)
    query = query.where(SessionRow.account_id == account_id, col(SessionRow.state).in_(list(LIVE)))
    if transaction.exec(query).one() >= limit:
        raise LimitReached(
            f"{limit} of at most {limit} sessions run already; stop one first, or raise sessions.max_concurrent_sessions",
            limit=limit,
        )


def _stored(row: SessionRow) -> Stored:
    values = row.model_dump()
    session = Session(**{name: values.pop(name) for name in _IN_SESSION})
    return Stored(session=session, **values)


_IN_SESSION = Session.__struct_fields__
