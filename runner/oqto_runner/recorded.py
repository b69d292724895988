"""
What plugins of the runner recorded for the audit log, kept until the core has it.

Records gather in `audit.jsonl`; taking them gives the file a name of its own, under which it stays until the
taker says that it is kept elsewhere. Whoever is killed in between finds the same batch again.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

MAX_BYTES = 2**20
"""Then a batch is closed by itself: one reply must hold it."""

_threads = threading.Lock()  # a plugin may record from a thread


def write(root: Path, record: dict[str, Any]) -> None:
    """Append one record (0600)."""
    path = root / "audit.jsonl"
    with _threads:
        if path.exists() and path.stat().st_size > MAX_BYTES:
            _close(root)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(record) + b"\n")
        finally:
            os.close(fd)


def take(root: Path, kept: str) -> tuple[str, list[dict[str, Any]]]:
    """
    The oldest batch with its name, and nothing when none waits. `kept` is the batch that may go.

    A line that a kill tore is left out.
    """
    with _threads:
        if kept.isdigit():
            (root / f"audit-{kept}.jsonl").unlink(missing_ok=True)
        if not (waiting := _batches(root)) and (root / "audit.jsonl").exists():
            _close(root)
            waiting = _batches(root)
    if not waiting:
        return "", []
    return waiting[0].stem.removeprefix("audit-"), [
        record for line in waiting[0].read_bytes().splitlines() if (record := _read(line)) is not None
    ]


def _batches(root: Path) -> list[Path]:
    return sorted(root.glob("audit-[0-9]*.jsonl"))


def _close(root: Path) -> None:
    (root / "audit.jsonl").rename(root / f"audit-{time.time_ns():020d}.jsonl")


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
