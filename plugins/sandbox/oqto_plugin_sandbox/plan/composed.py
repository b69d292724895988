"""
Visible folders that hold a denied name: shown as a private folder with a mount for each of their entries.

A mask over something in a folder of the host is gone as soon as the host replaces what is under it, and a
name that appears later has no mask. In a composed folder neither can happen; its price is a mount for each
entry, and that new entries are not seen before the next start.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.missing import is_for_a_folder
from oqto_plugin_sandbox.plan.model import PRIVATE_PLACES, Request, depth, upward
from oqto_plugin_sandbox.policy.model import Policy

MOST_FOR_FILES = 200
"""Entries of a folder that is composed for a denied file, of which every save is a replacement."""

MOST_FOR_FOLDERS = 40
"""For a denied folder, which is hardly ever replaced; beyond that a mask has to do, and a stub while it is missing."""


MOST_TO_COPY = 32 << 10
"""Bytes of a file that is copied into a composed folder: a mount costs ten times more than to copy so little."""

MOST_COPIES = 128
PRIVATE_MB = 8
"""Room for all copies and for the links."""


class Composed(NamedTuple):
    """Folders to compose, shallow first, each with the key that shows it; and what could not be."""

    folders: dict[str, str]
    gaps: tuple[str, ...]


def composed(policy: Policy, request: Request, denied: Iterable[str], disk: Disk) -> Composed:
    """`denied`: resolved paths of the deny list."""
    roots = _roots(policy, request)
    live = {request.workspace, *request.readable, *request.writable}
    live.update(path for path in (*policy.allow_write, *policy.extra_rw_bind) if path not in PRIVATE_PLACES)
    folders: dict[str, str] = {}
    gaps: list[str] = []
    chains: dict[str, tuple[list[str], list[str]]] = {}
    for path in denied:
        above = upward(path)
        root = next((folder for folder in above[1:] if folder in roots), "")
        if not root or not live.isdisjoint(above):
            continue
        if above[1] not in chains:
            found = _chain(root, above[1], disk)
            chains[above[1]] = found, _large(found, disk)
        found, large = chains[above[1]]
        if large and (too_large := _too_large(large, path, disk)):
            gaps += _gap(path, too_large[0], disk)
        else:
            folders |= dict.fromkeys(found, roots[root])
    folders.pop(request.home, None)  # composed in any case
    return Composed(dict(sorted(folders.items(), key=lambda item: (depth(item[0]), item[0]))), tuple(gaps))


def entries(folder: str, disk: Disk) -> Iterator[str]:
    """What of a composed folder is mounted: not its links, and no sockets, which reach out even when read-only."""
    for name in sorted(disk.entries(folder)):
        path = f"{folder}/{name}"
        if disk.kind(path) not in (0, stat.S_IFLNK, stat.S_IFSOCK):
            yield path


def links(folder: str, disk: Disk) -> Iterator[tuple[str, str]]:
    """The symbolic links of a composed folder with their targets."""
    for name, kind in sorted(disk.entries(folder).items()):
        path = f"{folder}/{name}"
        if kind == stat.S_IFLNK and (target := disk.target(path)):
            yield path, target


def is_small(status: os.stat_result) -> bool:
    """Whether it is a file to copy."""
    return stat.S_ISREG(status.st_mode) and status.st_size <= MOST_TO_COPY


def rights_of_small(path: str) -> tuple[int, int]:
    """Owner and rights of a file to copy; nobody's and none for everything else."""
    try:
        status = os.lstat(path)
    except OSError:
        return -1, 0
    return (status.st_uid, status.st_mode & 0o777) if is_small(status) else (-1, 0)


def _roots(policy: Policy, request: Request) -> dict[str, str]:
    """Places that are shown read-only, each with the key that shows it."""
    found = dict.fromkeys(policy.extra_ro_bind, "extra_ro_bind")
    if policy.home == "ro":
        found[request.home] = 'home = "ro"'
    elif policy.home == "private":
        found |= dict.fromkeys(policy.allow_read or (), "allow_read")
    return found


def _chain(root: str, last: str, disk: Disk) -> list[str]:
    """The folders from the root to the last one, as far as they exist."""
    found = []
    above = upward(last)
    for folder in reversed(above[: above.index(root) + 1]):
        if not disk.can_list(folder):
            break
        found.append(folder)
    return found


def _large(folders: list[str], disk: Disk) -> list[str]:
    return [folder for folder in folders if len(disk.entries(folder)) > MOST_FOR_FOLDERS]


def _too_large(large: list[str], path: str, disk: Disk) -> list[str]:
    most = _most(path, disk)
    return [folder for folder in large if len(disk.entries(folder)) > most]


def _most(path: str, disk: Disk) -> int:
    is_folder = disk.leads_to_folder(path) if disk.is_there(path) else is_for_a_folder(path)
    return MOST_FOR_FOLDERS if is_folder else MOST_FOR_FILES


def _gap(path: str, folder: str, disk: Disk) -> list[str]:
    if _most(path, disk) == MOST_FOR_FOLDERS:
        return []
    what = f"{path} is denied, but {folder} has more than {MOST_FOR_FILES} entries"
    return [f"{what}: if the file is made or replaced during the session, it can be read"]
