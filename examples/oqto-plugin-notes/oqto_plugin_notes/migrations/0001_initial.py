"""The table of notes."""

import sqlalchemy as sa
from alembic import op

revision = "notes0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "notes_note",
        sa.Column("account_id", sa.String(), primary_key=True),
        sa.Column("session_id", sa.String(), primary_key=True),
        sa.Column("text", sa.String(), nullable=False),
    )
