"""What the session routes take and give."""

from __future__ import annotations

from typing import Annotated

import msgspec


class NewSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session somebody wants. Empty provider and model mean: the first that is usable."""

    workspace: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    harness: str = "pi"
    provider: str = ""
    model: str = ""
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""


class SessionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its owner sees it. Times in seconds since the epoch; `agent_state` is null without a process."""

    id: str
    workspace: str
    workspace_name: str
    harness: str
    provider: str
    model: str
    title: str
    state: str
    stop_reason: str
    agent_state: str | None
    created_at: float
    started_at: float | None
    stopped_at: float | None
    last_active_at: float | None
    confined_by: str
    profile: str
    network: str
    sandbox: str
    spent_usd: float
    error: str
