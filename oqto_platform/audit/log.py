"""The audit log as actions use it: call it with an event."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec
import structlog

from oqto_platform import logs
from oqto_platform.audit import files, places, record
from oqto_platform.audit.chain import Chain
from oqto_platform.audit.events import COLUMNS, Action, split
from oqto_platform.clock import now_ms
from oqto_platform.errors import AuditUnwritable, ConfigError
from oqto_platform.metrics.counts import counts
from oqto_platform.private import private_dir
from oqto_platform.types import Identity

log = structlog.get_logger("oqto.audit")

MAX_MB = 64
MAX_LINE = 16 * 1024
REPAIR = "free space or mend the permissions, or set [logging] audit_enabled = false"

acting: ContextVar[Identity | None] = ContextVar("acting", default=None)
"""Who asks, in the context of a request; the guard sets it."""


class AuditLog:
    """
    Appends records to one chain (0600). `path=None`: auditing is switched off.

    Raises `ConfigError` when the file cannot be written, and later `AuditUnwritable`: what cannot be recorded
    is not reported as done. `seal` lies beside the file unless another place is given.
    """

    def __init__(self, path: Path | None, seal: Path | None = None, *, max_mb: float = MAX_MB) -> None:
        self.seal = seal or (path.with_name(f"{path.name}.seal") if path else None)
        self._chain: Chain | None = None
        self.failure = ""
        """Why the last record could not be written."""
        self.broken = ""
        """What was found wrong with the log when a record was written, since the start of this process."""
        self.settle(path, max_mb=max_mb)

    @property
    def path(self) -> Path | None:
        """The file that grows; `None` while auditing is switched off."""
        return self._chain.path if self._chain is not None else None

    def settle(self, path: Path | None, *, max_mb: float) -> None:
        """
        Go on at `path`; the chain goes on, too, wherever it was before. `None` switches auditing off.

        Raises `ConfigError` when nothing can be written there; then all stays as it is.
        """
        if path is None or self.seal is None:
            self._chain = None
            return
        self.check(path)
        chain = self._chain or self._continued(path, self.seal)
        chain.max_bytes = int(max_mb * 2**20)
        try:
            chain.move(path)
        except OSError as exc:
            raise _unwritable(path, exc) from exc
        self._chain = chain

    def check(self, path: Path) -> None:
        """Raise `ConfigError` when the log could not go on at `path`. Makes an empty file."""
        if self.seal is None:
            return
        for file in (path, self.seal):
            _check_writable(file)
        known = places.all_of(self.seal)
        if known and known[-1] != path and not places.may_go_on_at(path, self.seal):
            raise ConfigError(
                f"[logging] audit_file: {path} holds something else already; name another file, or move it away"
            )

    def _continued(self, path: Path, seal: Path) -> Chain:
        """The chain where this machine left it, however the configuration was changed meanwhile."""
        last = next(iter(places.all_of(seal)[::-1]), path)
        # Files that somebody took to the new place go on there as they are.
        begin = last if last.exists() or files.older(last) else path
        if begin == path:
            places.remember(seal, path)
        return Chain(begin, seal, max_bytes=MAX_MB * 2**20, compose=_compose)

    def __call__(self, event: Action) -> None:
        """Append one record; returns when the kernel has it."""
        if self._chain is None:
            return
        try:
            told = self._chain.append(event)
        except OSError as exc:
            self.failure = f"{self.path} cannot be written: {exc.strerror}"
            raise AuditUnwritable(f"the audit log {self.failure}; {REPAIR}") from exc
        self.failure = ""
        for one in (*told, event):
            counts.add("oqto_audit_records", (one.name, _outcome(one)))
        for one in told:
            _, fields = split(one)
            if one.outcome == "failed":
                self.broken = f"{self.path} was not as it was left ({one.name})"
            log.warning("the audit log was not as it was left", told=one.name, path=str(self.path), **fields)

    def of_plugin(self, plugin: str, event: str, fields: dict[str, Any], *, door: str = "") -> None:
        """A record `<plugin>.<event>`; `actor`, `target`, `session` and `outcome` among `fields` are columns."""
        self(_of_plugin(f"{plugin}.{event}", fields, door))

    def close(self) -> None:
        """Nothing is written any more."""
        self._chain = None


class _PluginEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in for an `Action` whose name and fields only the plugin knows."""

    name: str
    columns: dict[str, Any]
    fields: dict[str, Any]


def _of_plugin(name: str, fields: dict[str, Any], door: str) -> Any:
    columns = {key: str(value) for key, value in fields.items() if key in COLUMNS}
    columns |= {"door": door} if door else {}
    return _PluginEvent(
        name=name, columns=columns, fields={key: value for key, value in fields.items() if key not in COLUMNS}
    )


def _compose(event: Any, seq: int, prev: str) -> bytes:
    columns, fields = (event.columns, event.fields) if isinstance(event, _PluginEvent) else split(event)
    fields = logs.clean("", fields)
    made = record.AuditRecord(
        seq=seq,
        ts=now_ms(),
        event=event.name,
        prev=prev,
        request=structlog.contextvars.get_contextvars().get("request", ""),
        fields=fields,
        **(_who() | {key: _short(value) for key, value in columns.items()}),
    )
    line = record.encode(made)
    return line if len(line) <= MAX_LINE else record.encode(_shortened(made))


def _who() -> dict[str, str]:
    identity = acting.get()
    if identity is None:
        return {}
    return {"actor": identity.name, "account": identity.account_id, "door": identity.door}


def _outcome(event: Any) -> str:
    found = event.columns.get("outcome", "ok") if isinstance(event, _PluginEvent) else event.outcome
    return found if found in ("ok", "refused", "failed") else "other"


def _short(text: str) -> str:
    return logs.clean("", text[:1024])  # type: ignore[no-any-return]


def _shortened(made: record.AuditRecord) -> record.AuditRecord:
    """A line that somebody from outside made huge: the fields are cut, the rest stays."""
    cut = {key: str(value)[:200] for key, value in list(made.fields.items())[:20]}
    return msgspec.structs.replace(made, fields=cut | {"is_cut": True})


def _check_writable(path: Path) -> None:
    try:
        private_dir(path.parent)
        path.open("ab").close()
        path.chmod(0o600) if path.stat().st_size == 0 else None
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _unwritable(path: Path, exc: OSError) -> ConfigError:
    return ConfigError(
        f"[logging] audit_file: cannot write {path}: {exc.strerror}; mend it or set audit_enabled = false"
    )
