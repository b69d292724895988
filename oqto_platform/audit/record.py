"""One line of the audit log, and how it hangs on the line before it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

FIRST = "0" * 64
"""What the first record of all carries in place of a hash."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Who did what to what, with which outcome.

    `seq` counts from 1 without a hole; `ts` is milliseconds since the epoch; `actor` is a name and `account`
    its id; `door` is how they came in; `request` is the id that stands in the log, too. `prev` is the SHA-256 of
    the line before, without its newline.
    """

    seq: int = 0
    ts: int
    event: str
    actor: str = ""
    account: str = ""
    door: str = ""
    target: str = ""
    session: str = ""
    outcome: str = "ok"
    request: str = ""
    fields: dict[str, Any] = {}
    prev: str


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(AuditRecord).decode


def digest(line: bytes) -> str:
    """The hash that the next line carries; `line` without its newline."""
    return hashlib.sha256(line).hexdigest()


def read(line: bytes) -> AuditRecord | None:
    """The record in a line; `None` for anything else."""
    try:
        return decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
