"""The process table, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Proc(NamedTuple):
    """One process. `started` (clock ticks since boot) tells a reused pid from the one that was meant."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    is_zombie: bool

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.started


def read(pid: int) -> Proc | None:
    """The process `pid`; `None` when there is none."""
    try:
        stat = _whole(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name in parentheses may hold anything, also spaces and parentheses.
    fields = stat.rpartition(b")")[2].split()
    return Proc(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0] in b"ZX")


def _whole(path: str) -> bytes:
    # A quarter of what `Path` takes, and a table holds hundreds. The kernel gives such a file in one piece.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def table() -> dict[int, Proc]:
    """Every process that can be seen, by pid."""
    pids = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return {proc.pid: proc for pid in pids if (proc := read(pid))}


def environment(pid: int) -> list[bytes]:
    """The entries (`NAME=value`) with which a process began; nothing when it is gone or somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def boot_id() -> str:
    """Names this boot of the machine: process numbers mean something within it only."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
