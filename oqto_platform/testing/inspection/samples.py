"""Plausible arguments for every awaited hook, so that a plugin is asked what the house would ask."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from oqto_platform.settings import Settings
from oqto_platform.types import (
    Account,
    AccountId,
    Credentials,
    Identity,
    Outcome,
    Session,
    SessionId,
    SpawnPlan,
    ToolCall,
    WorkspaceRequest,
)

ACCOUNT = Account(id=AccountId("acc_contract"), name="Ada")
IDENTITY = Identity(account_id=ACCOUNT.id, name="Ada")
UNKNOWN = SessionId("ses_unknown")


def session_in(workspace: Path) -> Session:
    """A session that this inspection is about."""
    return Session(
        id=SessionId("ses_contract"), account_id=ACCOUNT.id, workspace=str(workspace), harness="echo"
    )


def plan_in(workspace: Path) -> SpawnPlan:
    """A plan as a harness makes it: this Python, with a variable and folders that must survive."""
    return SpawnPlan(
        argv=(os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"),
        cwd=str(workspace),
        env={"PATH": os.defpath, "HOME": str(workspace), "OQTO_CONTRACT": "kept"},
        readable=(sys.base_prefix,),
        writable=(str(workspace),),
    )


def arguments(workspace: Path, settings: Settings) -> dict[str, Any]:
    """Values by the name of the argument; what a hook calls the same is the same everywhere."""
    return {
        "settings": settings,
        "old": settings,
        "new": settings,
        "credentials": Credentials(name="nobody", password="no password"),  # noqa: S106 (of nobody)
        "identity": IDENTITY,
        "action": "session.start",
        "target": str(workspace),
        "session": session_in(workspace),
        "account": ACCOUNT,
        "plan": plan_in(workspace),
        "reason": "asked",
        "outcome": Outcome(reason="asked"),
        "call": ToolCall(id="call_contract", name="bash", input={"command": "true"}, output=""),
        "reservation_id": "",
        "request": WorkspaceRequest(path=str(workspace / "made"), create=True),
    }
