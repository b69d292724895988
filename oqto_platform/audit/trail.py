"""The ends of sessions, whoever or whatever ended them, as the hooks tell them."""

from __future__ import annotations

from collections.abc import Callable

from oqto_platform.audit.events import SessionEnded
from oqto_platform.audit.log import AuditLog
from oqto_platform.hooks import hookimpl
from oqto_platform.types import Outcome, Session


class Trail:
    """A built-in plugin of the core. An end is never held up: the hook's mode logs what cannot be recorded."""

    def __init__(self, audit: Callable[[], AuditLog]) -> None:
        self._audit = audit

    @hookimpl
    def session_stopped(self, session: Session, outcome: Outcome) -> None:
        is_bad = outcome.reason in ("failed", "interrupted")
        ended = SessionEnded(
            target=session.account_id,
            session=session.id,
            outcome="failed" if is_bad else "ok",
            reason=outcome.reason,
            detail=outcome.detail,
        )
        self._audit()(ended)
