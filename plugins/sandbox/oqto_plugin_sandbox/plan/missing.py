"""Denied names that are not there yet but could appear while the agent looks at the folder they belong into."""

# ruff: noqa: PTH119, PTH120 - paths are passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
from collections.abc import Iterable

from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.model import Request, is_within, upward

FILE_ENDINGS = ("rc", "history", "credentials")


def reservable(hidden: Iterable[str], request: Request, disk: Disk) -> tuple[str, ...]:
    """
    Denied paths of the home and the workspace that a folder can keep free: missing, or empty folders.

    In the workspace any name: git does not see an empty folder, and no editor can replace it by a file.
    In the home only names of folders, because programs outside would stumble over a folder for a file.
    """
    return tuple(path for path in hidden if _is_ours(path, request) and _is_free(path, disk))


def _is_ours(path: str, request: Request) -> bool:
    if is_within(path, request.workspace):
        return path != request.workspace
    return is_within(path, request.home) and is_for_a_folder(path)


def is_for_a_folder(path: str) -> bool:
    """Whether a name that is missing would be that of a folder."""
    name = os.path.basename(path)
    return "." not in name[1:] and not name.endswith(FILE_ENDINGS)


def _is_free(path: str, disk: Disk) -> bool:
    """Missing, perhaps with some of its parents, or an empty folder."""
    if not disk.is_there(path):
        above = upward(os.path.dirname(path))
        return disk.is_folder(next(folder for folder in above if folder == "/" or disk.is_there(folder)))
    return disk.can_list(path) and not disk.entries(path)
