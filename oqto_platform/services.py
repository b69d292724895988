"""
The services of one worker, built by `house` and given to routes by name.

Routes name this class before there are services: it loads none of their libraries.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, dataclass_transform

if TYPE_CHECKING:
    import asyncio

    from oqto_platform.access import Access
    from oqto_platform.accounts.dev import DevAccounts
    from oqto_platform.accounts.service import Accounts
    from oqto_platform.audit import AuditLog
    from oqto_platform.auth.throttle import Throttle
    from oqto_platform.auth.tokens import Tokens
    from oqto_platform.config.live import Live
    from oqto_platform.db import Database
    from oqto_platform.hooks import Hooks
    from oqto_platform.mux.news import Newsroom
    from oqto_platform.panels.catalogue import Catalogue
    from oqto_platform.reloading import Reloading
    from oqto_platform.runners.client import RunnerClient
    from oqto_platform.runners.registry import Registry
    from oqto_platform.sessions.reconcile import Reconciler
    from oqto_platform.sessions.service import Sessions
    from oqto_platform.starting import StartChecks
    from oqto_platform.workspaces.service import Workspaces


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Parts:
    """As good as a dataclass to a type checker; Litestar would look up and load the types of a real one's fields."""

    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


class Services(_Parts):
    """Everything a handler may ask for."""

    hooks: Hooks
    live: Live
    panels: Catalogue
    db: Database
    audit: AuditLog
    access: Access
    accounts: Accounts
    dev_accounts: DevAccounts
    tokens: Tokens
    throttle: Throttle
    sessions: Sessions
    newsroom: Newsroom
    workspaces: Workspaces
    reconciler: Reconciler
    registry: Registry
    reloading: Reloading
    runner: RunnerClient
    start: StartChecks
    state_dir: Path
    farewell: asyncio.Event
    version: str
    mode: str
