"""
Sockets of the host in folders that a sandbox shows.

A read-only mount does not keep anybody from connecting, and behind such a socket may sit a container daemon or
an agent with the person's keys. The kernel lists where sockets were bound, so no folder has to be searched.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from oqto_plugin_sandbox.plan.model import Request, is_within
from oqto_plugin_sandbox.policy.model import Policy

SOCKETS_KEY = "unix_sockets.allow"
LIST = Path("/proc/self/net/unix")
NEVER_SHOWN = ("/run/", "/var/run/", "/dev/")
_PATH_FIELD = 7


def sockets(policy: Policy, request: Request) -> list[str]:
    """Those that the agent could otherwise see and may not reach: neither its own nor in `unix_sockets.allow`."""
    shown = (request.home, *(policy.allow_read or ()), *policy.extra_ro_bind, *policy.extra_rw_bind)
    own = (request.workspace, *request.writable)
    return [
        path
        for path in _bound()
        if _is_in(path, shown)
        and not _is_in(path, own)
        and path not in policy.unix_sockets
        and _is_socket(path)
    ]


def _is_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(is_within(path, folder) for folder in folders)


def _bound() -> list[str]:
    """Where sockets are, as far as their names were absolute: of others nobody knows the folder."""
    folders: dict[str, str] = {}
    found = set()
    for name in _names():
        folder, _, last = name.rpartition("/")
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        found.add(f"{folders[folder]}/{last}")
    return sorted(found)


def _names() -> Iterator[str]:
    try:
        lines = LIST.read_text(errors="surrogateescape").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split(None, _PATH_FIELD)
        if (
            len(fields) > _PATH_FIELD
            and fields[_PATH_FIELD].startswith("/")
            and not fields[_PATH_FIELD].startswith(NEVER_SHOWN)
        ):
            yield fields[_PATH_FIELD]


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False
