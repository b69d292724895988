"""Notices that wait."""

import sqlalchemy as sa
from alembic import op

revision = "webhook0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "webhook_notice",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
    )
    op.create_index("ix_webhook_notice_due_at", "webhook_notice", ["due_at"])
