"""The ends of sessions, whoever or whatever ended them, as the hooks tell them."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from oqto_platform.audit.events import SessionEnded
from oqto_platform.audit.log import AuditLog
from oqto_platform.errors import AuditUnwritable
from oqto_platform.hooks import hookimpl
from oqto_platform.types import Outcome, Session

log = structlog.get_logger("oqto.audit")


class Trail:
    """A hook of the core itself. An end is never held up by a record that cannot be written."""

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
        try:
            self._audit()(ended)
        except AuditUnwritable as exc:
            # The dispatcher would give a plugin that fails again and again a rest.
            log.error("an end is not recorded", session=session.id, reason=exc.detail)
