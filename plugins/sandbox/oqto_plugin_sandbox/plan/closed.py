"""
Folders that are closed to their own owner, by which an agent could hide from a plan what it protects.

An agent that owns a folder of the workspace may take every right to it away, and give them back in the next
session, whose plan saw nothing in it.
"""

# ruff: noqa: PTH116 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import cache

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.model import Request, Rule, upward
from oqto_plugin_sandbox.policy.model import Policy

SOMEBODY = -1
"""Closed, but nobody may know by whom."""


def refuse_closed(guarded: Iterable[Rule], policy: Policy, request: Request, disk: Disk) -> None:
    """Raises `Unconfined` where it is unknown whether something guarded is there and an agent could change that."""
    areas = _writable(policy, request)
    is_closed = cache(lambda folder: disk.ask(_closed_by, folder) in (request.uid, SOMEBODY))
    for rule in guarded:
        above = upward(rule.path)[1:]
        if areas.isdisjoint(above):
            continue
        if folder := next(filter(is_closed, above), ""):
            raise Unconfined(
                f"{folder} is closed, so nobody knows whether {rule.path} ({rule.why}) is there. "
                f"Repair: chmod u+rwx {folder}"
            )


def _closed_by(folder: str) -> int | None:
    """The owner of a folder that is closed to that owner, also behind a link."""
    try:
        status = os.lstat(folder)
    except OSError:
        return None
    try:
        status = os.stat(folder) if stat.S_ISLNK(status.st_mode) else status
    except OSError as exc:
        return SOMEBODY if isinstance(exc, PermissionError) else None
    is_closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_IXUSR
    return status.st_uid if is_closed else None


def _writable(policy: Policy, request: Request) -> set[str]:
    home = (request.home,) if policy.home == "rw" else ()
    return {*home, request.workspace, *request.writable, *policy.allow_write, *policy.extra_rw_bind}
