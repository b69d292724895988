"""
The audit log: one JSON line per action, each carrying the hash of the line before it.

Several workers append to one file: a lock orders them and the last line says what to chain to, so the
chain has no fork. A line is on disk before the action is reported as done.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.clock import now_ms
from oqto_platform.errors import ConfigError

FIRST = "0" * 64
TAIL = 64 * 1024


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who did what to what, with which outcome. `prev` is the SHA-256 of the line before, without its newline."""

    ts: int
    event: str
    actor: str = ""
    target: str = ""
    outcome: str = "ok"
    fields: dict[str, Any] = {}
    prev: str


class AuditLog:
    """Appends records to one file (0600). `path=None`: auditing is switched off."""

    def __init__(self, path: Path | None) -> None:
        self._handle: int | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigError(
                f"[logging] audit_file: cannot write {path}: {exc.strerror}; mend it or set audit_enabled = false"
            ) from exc

    def __call__(
        self, event: str, *, actor: str = "", target: str = "", outcome: str = "ok", **fields: Any
    ) -> None:
        """Append one record; returns when the kernel has it."""
        if self._handle is None:
            return
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            record = Record(
                ts=now_ms(),
                event=event,
                actor=actor,
                target=target,
                outcome=outcome,
                fields=fields,
                prev=self._last(),
            )
            os.write(self._handle, msgspec.json.encode(record) + b"\n")
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _last(self) -> str:
        assert self._handle is not None
        begin, tail = os.fstat(self._handle).st_size, b""
        while begin > 0 and b"\n" not in tail[:-1]:
            length = min(TAIL, begin)
            begin -= length
            tail = os.pread(self._handle, length, begin) + tail
        line = tail.removesuffix(b"\n").rpartition(b"\n")[2]
        return hashlib.sha256(line).hexdigest() if line else FIRST


def verify(path: Path) -> int:
    """The number of records of an unbroken chain; raises `ValueError` with the first bad line's number."""
    previous, count = FIRST, 0
    with path.open("rb") as file:
        for count, line in enumerate(file, 1):
            body = line.rstrip(b"\n")
            if _previous_of(body) != previous:
                raise ValueError(f"{path}: line {count} does not follow the line before it")
            previous = hashlib.sha256(body).hexdigest()
    return count


def _previous_of(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=Record).prev
    except msgspec.DecodeError:
        return ""
