"""Runs the history of one owner on the connection it was given. Shared by core and plugins."""

from __future__ import annotations

from typing import Any

from alembic import context

attributes = context.config.attributes
owner: str = attributes["owner"]


def ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Only the owner's tables; the neighbour's would be reported as drift."""
    return kind != "table" or name in attributes["metadata"].tables


context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table=f"{owner}_version",
    render_as_batch=True,
    include_name=ours,
)
with context.begin_transaction():
    context.run_migrations()
