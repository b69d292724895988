"""Tables of the core. Models stay inside services: `table=True` models do not validate."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import MetaData, UniqueConstraint
from sqlmodel import Field, SQLModel

metadata = MetaData()


class CoreTable(SQLModel):
    """Base of the core's tables; its metadata holds no plugin's tables."""

    metadata: ClassVar[MetaData] = metadata


class AccountRow(CoreTable, table=True):
    __tablename__: ClassVar[Any] = "account"

    id: str = Field(primary_key=True)
    name: str
    name_key: str = Field(unique=True)  # casefolded: Alice and alice are one account
    role: str = "user"
    email: str = ""
    password_hash: str
    token_generation: int = 0
    is_active: bool = True
    created_at: float
    last_sign_in_at: float | None = None


class RevokedTokenRow(CoreTable, table=True):
    __tablename__: ClassVar[Any] = "revoked_token"

    jti: str = Field(primary_key=True)
    expires_at: float = Field(index=True)


class SetupLinkRow(CoreTable, table=True):
    """At most one row: the hash of the link that makes the first account."""

    __tablename__: ClassVar[Any] = "setup_link"

    id: int = Field(primary_key=True)
    token_hash: str
    created_at: float


class WorkspaceRow(CoreTable, table=True):
    __tablename__: ClassVar[Any] = "workspace"
    __table_args__ = (UniqueConstraint("account_id", "path", name="workspace_owner_path"),)

    id: int | None = Field(default=None, primary_key=True)
    account_id: str = Field(index=True, foreign_key="account.id")
    path: str
    name: str
    last_used_at: float


class SessionRow(CoreTable, table=True):
    __tablename__: ClassVar[Any] = "session"

    id: str = Field(primary_key=True)
    account_id: str = Field(index=True, foreign_key="account.id")
    workspace: str
    harness: str
    provider: str = ""
    model: str = ""
    title: str = ""
    state: str = Field(index=True)
    stop_reason: str = ""
    reservation_id: str | None = None
    spent_nusd: int = 0
    error: str = ""
    confined_by: str = ""
    profile: str = ""
    network: str = ""
    sandbox: str = ""
    created_at: float
    started_at: float | None = None
    stopped_at: float | None = None
    last_active_at: float | None = None
