"""The parts of the host that every sandbox shows: programs, libraries, settings, devices. Never /run, /var, /home."""

# ruff: noqa: PTH116 - paths are compared and passed on as text, exactly as the kernel sees them
# ruff: noqa: S108 - /tmp is the sandbox's own

from __future__ import annotations

import os
import re
import stat
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.looks import effective_uid, is_readable, kind_behind
from oqto_plugin_sandbox.plan.model import (
    Bind,
    Data,
    Hide,
    Kernel,
    Link,
    Op,
    Request,
    Rule,
    Seal,
    Tmpfs,
    is_within,
)
from oqto_plugin_sandbox.policy.model import Policy

SYSTEM_RANK = 5
WALK_AGAIN_S = 60.0
LOOK_AGAIN_S = 1.0
"""A setting that appears a moment after a start is visible as well: nothing is lost by looking once in a moment."""

INSIDE_UID = 1000
"""As whom an agent of root sees itself; programs behave differently, and worse, when they think they are root."""

KERNEL_CONTROLS = tuple(
    f"/proc/{name}"
    for name in ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver", "mtrr", "asound")
)

SECRET_SETTINGS = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh",
    "/etc/ssl/private", "/etc/krb5.keytab", "/etc/NetworkManager/system-connections", "/etc/wireguard",
    "/etc/openvpn", "/etc/docker", "/etc/kubernetes", "/etc/rancher", "/etc/letsencrypt", "/etc/caddy",
)  # fmt: skip


def system_ops(policy: Policy, request: Request, disk: Disk) -> list[Op]:
    """The mounts at the root, before everything else."""
    ops: list[Op] = [_shared("/usr"), *_merged_usr(disk), _shared("/etc"), *_resolver(policy, disk)]
    if request.uid == 0:
        ops += [
            Data(dest="/etc/passwd", content=passwd(request.home, disk)),
            Data(dest="/etc/group", content=group(disk)),
        ]
    limits = policy.limits
    ops += [
        Kernel(dest="/proc", kind="proc"),
        *_controls(request.uid, disk),
        Kernel(dest="/dev", kind="dev"),
        Tmpfs(dest="/dev/shm", size_mb=limits.shm_mb or 0, mode=0o1777, why="private shared memory"),
        Seal(dest="/dev"),
        Tmpfs(dest="/tmp", size_mb=limits.tmp_mb or 0, mode=0o1777, why="private /tmp"),
        _second_tmp(policy, request),
    ]
    return ops


def _controls(uid: int, disk: Disk) -> list[Op]:
    """
    An agent of root has no capability but still root's number, and by that alone owns the kernel's controls: it
    could name the program that the kernel starts for a crash. bubblewrap covers only what it could write itself.
    """
    return [_shared(path) for path in disk.ask(_there, KERNEL_CONTROLS)] if uid == 0 else []


def _there(paths: tuple[str, ...]) -> list[str]:
    return [path for path in paths if kind_behind(path)]


def secret_rules(uid: int, disk: Disk) -> list[Rule]:
    """Settings that only root may read. For root itself also everything in /etc that others cannot read."""
    is_ours = uid == disk.ask(effective_uid, None) != 0
    paths = {path for path in SECRET_SETTINGS if _is_in_reach(path, disk, is_ours=is_ours)}
    if uid == 0:
        paths.update(disk.ask(_private_settings, "/etc"))
    return [Rule(path=p, access="hidden", rank=SYSTEM_RANK, why="secrets of the host") for p in sorted(paths)]


def _is_in_reach(path: str, disk: Disk, *, is_ours: bool) -> bool:
    """A file that the account cannot read needs no mask: inside it has no rights that it lacks outside."""
    if is_ours and disk.kind(path) == stat.S_IFREG:
        return disk.ask(is_readable, path)
    return disk.is_there(path)


def hide(path: str, *, is_folder: bool, has_children: bool, why: str) -> Hide | Tmpfs:
    """A mask: nothing at `path` can be listed or opened. Passable, and to be sealed, if something below is shown."""
    if is_folder and has_children:
        return Tmpfs(dest=path, mode=0o111, why=why)
    return Hide(dest=path, is_folder=is_folder, why=why)


def passwd(home: str, disk: Disk) -> bytes:
    """The accounts of the host with one for the agent, so that names and homes resolve."""
    own = f"oqto:x:{INSIDE_UID}:{INSIDE_UID}:Oqto agent:{home}:/bin/bash"
    return _accounts("/etc/passwd", own, disk)


def group(disk: Disk) -> bytes:
    return _accounts("/etc/group", f"oqto:x:{INSIDE_UID}:", disk)


def _accounts(path: str, own: str, disk: Disk) -> bytes:
    return ("\n".join([*disk.ask(_others, path), own]) + "\n").encode()


def _others(path: str) -> tuple[str, ...]:
    status = os.stat(path)
    return _read_others(path, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read_others(path: str, _inode: int, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    """Accounts that the agent's own does not displace. Tools replace these files, so the numbers tell versions."""
    lines = Path(path).read_text(errors="replace").splitlines()
    accounts = [line for line in lines if re.match("[^:]+:[^:]*:[0-9]", line)]
    return tuple(a for a in accounts if a.split(":")[0] != "oqto" and a.split(":")[2] != str(INSIDE_UID))


def _second_tmp(policy: Policy, request: Request) -> Op:
    """One private directory serves both, unless a mount has to go below /var/tmp: links hold no mount points."""
    places = (request.workspace, request.home, *request.readable, *request.writable, *policy.allow_write)
    if any(is_within(path, "/var/tmp") and path != "/var/tmp" for path in places):
        return Tmpfs(dest="/var/tmp", size_mb=policy.limits.tmp_mb or 0, mode=0o1777, why="private /var/tmp")
    return Link(dest="/var/tmp", target="/tmp")


def _shared(path: str) -> Bind:
    return Bind(dest=path, source=path, is_checked=False, why="system")


def _merged_usr(disk: Disk) -> list[Op]:
    ops: list[Op] = []
    for path in ("/bin", "/sbin", "/lib", "/lib64", "/lib32"):
        if disk.is_link(path):
            ops.append(Link(dest=path, target=disk.target(path)))
        elif disk.is_folder(path):
            ops.append(_shared(path))
    return ops


def _resolver(policy: Policy, disk: Disk) -> list[Op]:
    """The file behind /etc/resolv.conf; never its directory, which holds sockets on systemd hosts."""
    target = disk.end("/etc/resolv.conf") if policy.network.mode == "open" else ""
    if not target or target.startswith("/etc/") or disk.ask(kind_behind, target) != stat.S_IFREG:
        return []
    return [Bind(dest=target, source=target, is_checked=False, why="name resolution")]


class _Walk(NamedTuple):
    """What a walk of /etc found, and what it depended on. `looked_at`: when that was last compared."""

    at: float
    looked_at: float
    folders: dict[str, int]
    found: list[str]


_last_walk: list[_Walk] = []


def _private_settings(top: str) -> list[str]:
    """What below /etc others may not read. Walked again when a folder changed, and at least every minute."""
    now = time.monotonic()
    for walk in list(_last_walk):
        if now - walk.looked_at < LOOK_AGAIN_S:
            return walk.found
        if now - walk.at < WALK_AGAIN_S and _is_unchanged(walk):
            _last_walk[:] = [walk._replace(looked_at=now)]
            return walk.found
    _last_walk[:] = [_walk_settings(top)]
    return _last_walk[0].found


def _walk_settings(top: str) -> _Walk:
    folders, found = {}, []
    for folder, names, files in os.walk(top):
        folders[folder] = _changed_ns(folder)
        for name in [*names, *files]:
            path = f"{folder}/{name}"
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode) and not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH):
                found.append(path)
                if name in names:
                    names.remove(name)
    now = time.monotonic()
    return _Walk(now, now, folders, found)


def _is_unchanged(walk: _Walk) -> bool:
    try:
        return all(os.stat(folder).st_mtime_ns == at for folder, at in walk.folders.items())
    except OSError:
        return False


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
