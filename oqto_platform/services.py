"""The services of one worker, built by `app` and given to routes by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oqto_platform.access import Access
from oqto_platform.accounts.dev import DevAccounts
from oqto_platform.accounts.service import Accounts
from oqto_platform.audit import AuditLog
from oqto_platform.auth.throttle import Throttle
from oqto_platform.auth.tokens import Tokens
from oqto_platform.config.live import Live
from oqto_platform.db import Database
from oqto_platform.hooks import Hooks
from oqto_platform.panels.catalogue import Catalogue
from oqto_platform.reloading import Reloading
from oqto_platform.runners.client import RunnerClient
from oqto_platform.runners.registry import Registry
from oqto_platform.sessions.reconcile import Reconciler
from oqto_platform.sessions.service import Sessions
from oqto_platform.workspaces.service import Workspaces


@dataclass(frozen=True, kw_only=True)
class Services:
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
    workspaces: Workspaces
    reconciler: Reconciler
    registry: Registry
    reloading: Reloading
    runner: RunnerClient
    state_dir: Path
    version: str
    mode: str
