"""
What plugins recorded on runners (denials of the sandbox, what left the machine), brought into the one audit log.

A runner keeps a batch until it is told that we have it. After a crash in between it is there again, so what is
in the log already is left out.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any

import structlog

from oqto_platform.audit import AuditLog, query
from oqto_platform.errors import AuditUnwritable, OqtoError
from oqto_platform.runners.client import RunnerClient

log = structlog.get_logger("oqto.audit")

EVERY_S = 5.0
LOOKED_BACK = 5_000
NAME = re.compile(r"[a-z0-9][a-z0-9_. -]{0,63}")


class RunnerRecords:
    """One `round` asks the runners of everybody who has a session now, or had one in the round before."""

    def __init__(
        self,
        audit: AuditLog,
        accounts: Callable[[], Awaitable[Iterable[str]]],
        runner_of: Callable[[str], RunnerClient],
    ) -> None:
        self._audit = audit
        self._accounts = accounts
        self._runner_of = runner_of
        self._before: set[str] = set()
        self._is_first = True

    async def round(self) -> None:
        """Bring what waits. A runner that does not answer is asked again in the next round."""
        now = set(await self._accounts())
        runners = {client.address.socket: client for client in map(self._runner_of, now | self._before)}
        self._before = now
        for client in runners.values():
            try:
                await self._bring(client)
            except AuditUnwritable as exc:
                log.error("records of a runner wait", reason=exc.detail)
            except OqtoError as exc:
                log.debug("runner is away", reason=exc.detail)

    async def _bring(self, client: RunnerClient) -> None:
        kept = ""
        while (found := await client.take_audit(kept)).batch:
            known = self._known(found.batch) if self._is_first else set()
            for number, record in enumerate(found.records):
                if (mark := f"{found.batch}:{number}") not in known:
                    self._keep(client, record, mark)
            kept, self._is_first = found.batch, False

    def _known(self, batch: str) -> set[str]:
        """What of a batch is in the log already, from before this process."""
        if self._audit.path is None or self._audit.seal is None:
            return set()
        newest = islice(query.backwards(self._audit.path, self._audit.seal), LOOKED_BACK)
        marks = (str(record.fields.get("mark", "")) for record in newest)
        return {mark for mark in marks if mark.startswith(f"{batch}:")}

    def _keep(self, client: RunnerClient, record: dict[str, Any], mark: str) -> None:
        """The runner is its user's process: its names are checked, and the door says that it told us."""
        fields = dict(record)
        plugin, event = str(fields.pop("plugin", "")), str(fields.pop("event", ""))
        if not NAME.fullmatch(plugin) or not NAME.fullmatch(event):
            plugin, event = "runner", "unreadable"
        at_ms = fields.pop("ts", None)
        fields |= {"at_ms": at_ms, "mark": mark, "actor": client.address.principal.name}
        self._audit.of_plugin(plugin, event.replace(" ", "_"), fields, door="runner")
