"""
Sockets of the host in folders that a sandbox shows.

A read-only mount does not keep anybody from connecting, and behind such a socket may sit a container daemon or
an agent with the person's keys. The kernel lists where sockets were bound, so no folder has to be searched.
"""

# ruff: noqa: PTH115 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.looks import end_of, kind_of
from oqto_plugin_sandbox.plan.model import Request, is_within
from oqto_plugin_sandbox.policy.model import Policy

SOCKETS_KEY = "unix_sockets.allow"
LIST = Path("/proc/self/net/unix")
NEVER_SHOWN = ("run/", "var/run/", "dev/")
"""Below `/`."""

NOBODY_GETS_THERE = (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ELOOP)
"""Where a folder cannot be reached for one of these reasons, what is in it cannot be either."""


def sockets(policy: Policy, request: Request, disk: Disk) -> list[str]:
    """Those that the agent could otherwise see and may not reach: neither its own nor in `unix_sockets.allow`."""
    shown = (request.home, *(policy.allow_read or ()), *policy.extra_ro_bind, *policy.extra_rw_bind)
    own = (request.workspace, *request.writable)
    return [
        path
        for path in disk.ask(_bound_in, shown)
        if not _is_in(path, own) and path not in policy.unix_sockets
    ]


def _is_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(is_within(path, folder) for folder in folders)


def _bound_in(shown: tuple[str, ...]) -> list[str]:
    """Sockets below these folders, as far as their names were absolute: of others nobody knows the folder."""
    found = set()
    folders: dict[str, str] = {}
    for name in _names():
        folder, _, last = name.rpartition("/")
        if folder not in folders:
            folders[folder] = _real(folder or "/")
        if folders[folder]:
            found.add(f"{folders[folder].rstrip('/')}/{last}")
    return sorted(path for path in found if _is_in(path, shown) and kind_of(path) == stat.S_IFSOCK)


def _real(folder: str) -> str:
    """The kernel says it at once, however long the way. Empty where nobody gets to."""
    try:
        fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError as exc:
        return "" if exc.errno in NOBODY_GETS_THERE else end_of(folder)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _names() -> Iterable[str]:
    """The name is the last field of a line, and the only one with a slash."""
    try:
        text = LIST.read_text(errors="surrogateescape")
    except OSError:
        return []
    named = {line.partition(" /")[2] for line in text.split("\n")}
    return ["/" + name for name in named if name and not name.startswith(NEVER_SHOWN)]
