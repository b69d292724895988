"""Notes for each session: a table, two routes, and a panel beside the conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from oqto_platform import Context, Panel, Tables, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence


@hookimpl
def register_tables() -> Tables:
    from oqto_plugin_notes.tables import NoteRow

    return Tables(models=(NoteRow,), migrations=Path(__file__).parent / "migrations")


@hookimpl
def register_routes(context: Context) -> Sequence[Any]:
    from oqto_plugin_notes.routes import handlers

    return handlers(context)


@hookimpl
def register_panels() -> Sequence[Panel]:
    return [
        Panel(element="oqto-notes", module="notes.js", place="session", title="Notes"),
        Panel(element="oqto-notes-count", module="notes.js", place="account", title="Notes"),
    ]
