"""
Visible folders that hold a denied name: shown as a private folder with a mount for each of their entries.

A mask over something in a folder of the host is gone as soon as the host replaces what is under it, and a
name that appears later has no mask. In a composed folder neither can happen; its price is a mount for each
entry, and that new entries are not seen before the next start.
"""

# ruff: noqa: PTH112, PTH114, PTH115, PTH208 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from oqto_plugin_sandbox.plan.missing import is_for_a_folder
from oqto_plugin_sandbox.plan.model import PRIVATE_PLACES, Request, depth, upward
from oqto_plugin_sandbox.policy.model import Policy

MOST_FOR_FILES = 200
"""Entries of a folder that is composed for a denied file, of which every save is a replacement."""

MOST_FOR_FOLDERS = 40
"""For a denied folder, which is hardly ever replaced; beyond that a mask has to do, and a stub while it is missing."""


class Composed(NamedTuple):
    """Folders to compose, shallow first, each with the key that shows it; and what could not be."""

    folders: dict[str, str]
    gaps: tuple[str, ...]


def composed(policy: Policy, request: Request, denied: Iterable[str]) -> Composed:
    """`denied`: resolved paths of the deny list. Looks at the disk, changes nothing."""
    roots = _roots(policy, request)
    live = {request.workspace, *request.readable, *request.writable}
    live.update(path for path in (*policy.allow_write, *policy.extra_rw_bind) if path not in PRIVATE_PLACES)
    sizes: dict[str, int] = {}
    folders: dict[str, str] = {}
    gaps: list[str] = []
    for path in denied:
        above = list(upward(path))
        root = next((folder for folder in above[1:] if folder in roots), "")
        if not root or not live.isdisjoint(above):
            continue
        found = _chain(root, above, sizes)
        if too_large := [
            folder for folder in found if sizes[folder] > MOST_FOR_FOLDERS and sizes[folder] > _most(path)
        ]:
            gaps += _gap(path, too_large[0])
        else:
            folders |= dict.fromkeys(found, roots[root])
    folders.pop(request.home, None)  # composed in any case
    return Composed(dict(sorted(folders.items(), key=lambda item: (depth(item[0]), item[0]))), tuple(gaps))


def entries(folder: str) -> Iterator[str]:
    """What of a composed folder is mounted: not its links, and no sockets, which reach out even when read-only."""
    for name in sorted(os.listdir(folder)):
        try:
            mode = os.lstat(f"{folder}/{name}").st_mode
        except OSError:
            continue
        if not stat.S_ISLNK(mode) and not stat.S_ISSOCK(mode):
            yield f"{folder}/{name}"


def links(folder: str) -> Iterator[tuple[str, str]]:
    """The symbolic links of a composed folder with their targets."""
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        if os.path.islink(path):
            yield path, os.readlink(path)


def _roots(policy: Policy, request: Request) -> dict[str, str]:
    """Places that are shown read-only, each with the key that shows it."""
    found = dict.fromkeys(policy.extra_ro_bind, "extra_ro_bind")
    if policy.home == "ro":
        found[request.home] = 'home = "ro"'
    elif policy.home == "private":
        found |= dict.fromkeys(policy.allow_read or (), "allow_read")
    return found


def _chain(root: str, above: list[str], sizes: dict[str, int]) -> list[str]:
    """The folders that lead from the root to the path, as far as they exist; `sizes` remembers what was looked at."""
    found = []
    for folder in reversed(above[1 : above.index(root) + 1]):
        if folder not in sizes:
            sizes[folder] = _size(folder)
        if sizes[folder] < 0:
            break
        found.append(folder)
    return found


def _size(folder: str) -> int:
    """How many entries it has; -1 for what is no folder, or a link to one."""
    try:
        return -1 if os.path.islink(folder) else len(os.listdir(folder))
    except OSError:
        return -1


def _most(path: str) -> int:
    is_folder = os.path.isdir(path) or (not os.path.lexists(path) and is_for_a_folder(path))
    return MOST_FOR_FOLDERS if is_folder else MOST_FOR_FILES


def _gap(path: str, folder: str) -> list[str]:
    if _most(path) == MOST_FOR_FOLDERS:
        return []
    what = f"{path} is denied, but {folder} has more than {MOST_FOR_FILES} entries"
    return [f"{what}: if the file is made or replaced during the session, it can be read"]
