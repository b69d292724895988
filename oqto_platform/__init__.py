"""What plugins import. Nothing here loads the web framework or the database."""

from __future__ import annotations

from oqto_platform.errors import OqtoError, Refusal
from oqto_platform.hooks import hookimpl
from oqto_platform.settings import Secret, Section, Settings, key
from oqto_platform.types import (
    Account,
    Check,
    ConfinedPlan,
    Context,
    Credentials,
    Identity,
    Job,
    ModelInfo,
    ModelSource,
    Outcome,
    Panel,
    Principal,
    Relay,
    Reservation,
    Session,
    Settlement,
    SpawnPlan,
    Tables,
    Template,
    Usage,
    Workspace,
    WorkspaceRequest,
)

__all__ = [
    "Account",
    "Check",
    "ConfinedPlan",
    "Context",
    "Credentials",
    "Identity",
    "Job",
    "ModelInfo",
    "ModelSource",
    "OqtoError",
    "Outcome",
    "Panel",
    "Principal",
    "Refusal",
    "Relay",
    "Reservation",
    "Secret",
    "Section",
    "Session",
    "Settings",
    "Settlement",
    "SpawnPlan",
    "Tables",
    "Template",
    "Usage",
    "Workspace",
    "WorkspaceRequest",
    "hookimpl",
    "key",
]
