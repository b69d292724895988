"""
Sockets of the host in folders that a sandbox shows.

A read-only mount does not keep anybody from connecting, and behind such a socket may sit a container daemon or
an agent with the person's keys. The kernel lists where sockets were bound, so no folder has to be searched.
"""

# ruff: noqa: PTH115 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.model import Request, is_within
from oqto_plugin_sandbox.policy.model import Policy

SOCKETS_KEY = "unix_sockets.allow"
LIST = Path("/proc/self/net/unix")
NEVER_SHOWN = ("run/", "var/run/", "dev/")
"""Below `/`."""


def sockets(policy: Policy, request: Request, disk: Disk) -> list[str]:
    """Those that the agent could otherwise see and may not reach: neither its own nor in `unix_sockets.allow`."""
    shown = (request.home, *(policy.allow_read or ()), *policy.extra_ro_bind, *policy.extra_rw_bind)
    own = (request.workspace, *request.writable)
    return [
        path
        for path in _bound(disk)
        if _is_in(path, shown)
        and not _is_in(path, own)
        and path not in policy.unix_sockets
        and _is_socket(path)
    ]


def _is_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(is_within(path, folder) for folder in folders)


def _bound(disk: Disk) -> list[str]:
    """Where sockets are, as far as their names were absolute: of others nobody knows the folder."""
    found = set()
    folders: dict[str, str] = {}
    for name in _names():
        folder, _, last = name.rpartition("/")
        if folder not in folders:
            folders[folder] = _real(folder or "/", disk).rstrip("/")
        found.add(f"{folders[folder]}/{last}")
    return sorted(found)


def _real(folder: str, disk: Disk) -> str:
    """The kernel says it at once for what is there, however long the way: sockets lie in many folders."""
    try:
        fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return disk.real(folder)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _names() -> Iterator[str]:
    """The name is the last field of a line, and the only one with a slash."""
    try:
        text = LIST.read_text(errors="surrogateescape")
    except OSError:
        return
    for line in text.split("\n"):
        _, is_named, name = line.partition(" /")
        if is_named and not name.startswith(NEVER_SHOWN):
            yield "/" + name


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False
