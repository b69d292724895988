"""A chat renderer: what the agent edits, as a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oqto_platform import Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOLS = ("edit", "edit_file", "str_replace", "write", "write_file")


@hookimpl
def register_panels() -> Sequence[Panel]:
    return [Panel(element="oqto-diff", module="diff.js", place="tool", title="Changes", tools=TOOLS)]
