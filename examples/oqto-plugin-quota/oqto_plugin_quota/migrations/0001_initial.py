"""Sessions that were let through."""

import sqlalchemy as sa
from alembic import op

revision = "quota0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "quota_started",
        sa.Column("session_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
    )
    op.create_index("ix_quota_started_account_id", "quota_started", ["account_id"])
