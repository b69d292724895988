"""The list of workspaces that an account used."""

from __future__ import annotations

from pathlib import PurePath

from sqlmodel import Session as Transaction
from sqlmodel import select

from oqto_platform.clock import now
from oqto_platform.db.models import WorkspaceRow


def move_to_top(transaction: Transaction, account_id: str, path: str) -> None:
    """The account uses the workspace at `path` now."""
    query = select(WorkspaceRow).where(WorkspaceRow.account_id == account_id, WorkspaceRow.path == path)
    row = transaction.exec(query).first()
    row = row or WorkspaceRow(account_id=account_id, path=path, name=PurePath(path).name, last_used_at=0)
    row.last_used_at = now()
    transaction.add(row)
