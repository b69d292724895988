"""Registers the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oqto_platform import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence


@hookimpl
def register_harnesses() -> Sequence[Any]:
    from oqto_plugin_parrot.harness import Parrot

    return [Parrot()]
