"""
What plugins import. Nothing here loads the web framework or the database.

A name is loaded when it is first asked for: `oqtoctl --help` and the runner's start import this package
on their way to one module and would pay 250 ms for all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oqto_platform.children import Child
    from oqto_platform.errors import OqtoError, Refusal
    from oqto_platform.hooks import hookimpl
    from oqto_platform.settings import Secret, Section, Settings, key
    from oqto_platform.types import (
        Account,
        AccountId,
        Check,
        ConfinedPlan,
        Context,
        Credentials,
        Identity,
        Job,
        Launch,
        Metric,
        ModelInfo,
        ModelSource,
        Outcome,
        Panel,
        Principal,
        Relay,
        Reservation,
        ReservationId,
        Session,
        SessionId,
        Settlement,
        SpawnPlan,
        Tables,
        Template,
        ToolCall,
        Usage,
        Workspace,
        WorkspaceRequest,
    )

_HOME = {
    "Child": "children",
    "OqtoError": "errors",
    "Refusal": "errors",
    "hookimpl": "hooks",
    "Secret": "settings",
    "Section": "settings",
    "Settings": "settings",
    "key": "settings",
}
"""Where a name lives; the others are `types`."""

__all__ = [
    "Account",
    "AccountId",
    "Check",
    "Child",
    "ConfinedPlan",
    "Context",
    "Credentials",
    "Identity",
    "Job",
    "Launch",
    "Metric",
    "ModelInfo",
    "ModelSource",
    "OqtoError",
    "Outcome",
    "Panel",
    "Principal",
    "Refusal",
    "Relay",
    "Reservation",
    "ReservationId",
    "Secret",
    "Section",
    "Session",
    "SessionId",
    "Settings",
    "Settlement",
    "SpawnPlan",
    "Tables",
    "Template",
    "ToolCall",
    "Usage",
    "Workspace",
    "WorkspaceRequest",
    "hookimpl",
    "key",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'oqto_platform' has no attribute {name!r}")
    value = getattr(import_module(f"oqto_platform.{_HOME.get(name, 'types')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
