"""Every wish about a path, from the policy, the platform and the names that are always protected."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.composed import entries
from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.globs import expand, is_glob
from oqto_plugin_sandbox.plan.looks import kind_behind, kind_of
from oqto_plugin_sandbox.plan.model import (
    PRIVATE_PLACES,
    Access,
    Request,
    Rule,
    is_within,
    parents_between,
)
from oqto_plugin_sandbox.plan.sockets import SOCKETS_KEY, sockets
from oqto_plugin_sandbox.plan.system import secret_rules
from oqto_plugin_sandbox.policy.model import Policy

HOME_RANK, ALLOW_RANK, EXTRA_RANK, WORKSPACE_RANK = 10, 20, 30, 40
PROTECT_RANK, DENY_WRITE_RANK, DENY_READ_RANK, PLATFORM_RANK = 50, 60, 70, 80

# What tools execute or obey without being asked, written by nobody but the person.
PROTECTED_NAMES = (
    ".oqto", ".git/hooks", ".git/info/attributes", ".git/config.worktree", ".gitmodules", ".vscode", ".idea",
    ".claude/settings.json", ".claude/settings.local.json", ".claude/hooks", ".claude/commands", ".claude/agents",
    ".codex", ".gemini", ".cursor", ".mcp.json", ".envrc",
)  # fmt: skip
GIT_CONFIG = ".git/config"
GIT_FILE = ".git"
"""In a linked worktree it is a file that says where the repository is, with settings that git obeys."""


class Denials(NamedTuple):
    """
    Denied paths as they are on disk now. `named` are those of `hidden` that are no matches of a glob,
    `sockets` those of the host that could be connected to.
    """

    hidden: list[str]
    read_only: list[str]
    named: list[str]
    sockets: list[str]


def denials(policy: Policy, request: Request, disk: Disk) -> Denials:
    """The deny lists, resolved, and the sockets. Raises `Unconfined` where one cannot be."""
    named = list(denied_paths((path for path in policy.deny_read if not is_glob(path)), disk))
    matched = denied_paths((path for path in policy.deny_read if is_glob(path)), disk)
    hidden, read_only = sorted({*named, *matched}), list(denied_paths(policy.deny_write, disk))
    return Denials(hidden, read_only, named, sockets(policy, request, disk))


def gather(
    policy: Policy, request: Request, denied: Denials, composed: Mapping[str, str], disk: Disk
) -> list[Rule]:
    """All rules, in no particular order; several may name one path. `composed`: folders shown entry by entry."""
    return [
        *(rule for rule in _shown(policy, request, disk) if rule.path not in composed),
        *_composed(composed, disk),
        *_workspace(policy, request, disk),
        *_each(denied.read_only, "ro", DENY_WRITE_RANK, "deny_write"),
        *_each(denied.hidden, "hidden", DENY_READ_RANK, "deny_read"),
        *_each(denied.sockets, "hidden", DENY_READ_RANK, SOCKETS_KEY),
        *secret_rules(request.uid, disk),
        *_platform(request, disk),
    ]


def _composed(folders: Mapping[str, str], disk: Disk) -> Iterator[Rule]:
    for folder, why in folders.items():
        for path in entries(folder, disk):
            if path not in folders:
                yield Rule(path=path, access="ro", rank=HOME_RANK, why=why)


def _shown(policy: Policy, request: Request, disk: Disk) -> Iterator[Rule]:
    if policy.home == "rw":
        yield Rule(path=request.home, access="rw", rank=HOME_RANK, why='home = "rw"')
    elif policy.home == "ro":
        yield from _each(entries(request.home, disk), "ro", HOME_RANK, 'home = "ro"')
    else:
        yield from _each(policy.allow_read or (), "ro", ALLOW_RANK, "allow_read")
    yield from _each(policy.allow_write, "rw", ALLOW_RANK, "allow_write")
    yield from _each(policy.extra_ro_bind, "ro", EXTRA_RANK, "extra_ro_bind")
    yield from _each(policy.extra_rw_bind, "rw", EXTRA_RANK, "extra_rw_bind")
    yield from _each(policy.unix_sockets, "ro", EXTRA_RANK, SOCKETS_KEY)


def _workspace(policy: Policy, request: Request, disk: Disk) -> Iterator[Rule]:
    access: Access = "ro" if policy.readonly_workspace else "rw"
    why = "readonly_workspace" if policy.readonly_workspace else "the workspace"
    yield Rule(path=request.workspace, access=access, rank=WORKSPACE_RANK, why=why)
    yield from _each(protected_paths(policy, request.workspace, disk), "ro", PROTECT_RANK, "protect_defaults")
    policies = (f"{nested}/.oqto" for nested in request.nested)
    yield from _each(policies, "ro", PROTECT_RANK, "the policy of another workspace")


def protected_paths(policy: Policy, workspace: str, disk: Disk) -> list[str]:
    """Names in the workspace that stay read-only; `.oqto` always, the others with `protect_defaults`."""
    names = [".oqto"]
    if policy.protect_defaults:
        names = [*PROTECTED_NAMES, *([] if policy.allow_git_config else [GIT_CONFIG])]
        is_file = disk.ask(kind_behind, f"{workspace}/{GIT_FILE}") == stat.S_IFREG
        names += [GIT_FILE] if is_file else disk.ask(_submodules, workspace)
    return [f"{workspace}/{name}" for name in names]


def _submodules(workspace: str) -> list[str]:
    """
    `.git/modules/**/{hooks,config}`: git runs them when it enters the submodule. A folder that is closed as it is,
    because its owner may open it again. Any sign of a repository counts: the agent may remove and restore others.
    """
    found: list[str] = []
    closed: list[str] = []
    top = f"{workspace}/.git/modules"
    for folder, names, files in os.walk(top, onerror=lambda exc: closed.append(_closed_name(exc))):
        if {"HEAD", "config"} & set(files) or "hooks" in names:
            relative = folder.removeprefix(workspace + "/")
            found += [f"{relative}/{name}" for name in ("hooks", "config")]
            names[:] = [name for name in names if name == "modules"]
    return found + [path.removeprefix(workspace + "/") for path in closed if path]


def _closed_name(exc: OSError) -> str:
    return str(exc.filename) if isinstance(exc, PermissionError) else ""


def denied_paths(paths: Iterable[str], disk: Disk) -> Iterator[str]:
    """Denied paths as written and as they resolve: the data is reachable by both names. Globs are expanded."""
    for path in expand(paths, disk):
        yield path
        if (target := _resolved(path, disk)) != path:
            yield target


def _resolved(path: str, disk: Disk) -> str:
    """Where a path leads, even if nothing is there yet. Raises `Unconfined` for a circle of links."""
    if not disk.is_there(path):
        return path
    if not disk.is_link(path):
        folder, _, name = path.rpartition("/")
        return f"{disk.real(folder or '/').rstrip('/')}/{name}"
    target = disk.end(path)
    if disk.ask(kind_of, target) == stat.S_IFLNK:
        raise Unconfined(f"the denied path {path} is a link that leads to itself; remove the link")
    return target


def _platform(request: Request, disk: Disk) -> Iterator[Rule]:
    for path in request.readable:
        yield Rule(path=path, access="ro", rank=PLATFORM_RANK, why="needed by the agent program")
    for path in request.writable:
        yield Rule(path=path, access="rw", rank=PLATFORM_RANK, why="private state of the agent")
    for outside, _ in request.sockets:
        if not disk.ask(kind_behind, outside):
            raise Unconfined(f"the socket {outside} does not exist; its service is not running")


def _each(paths: Iterable[str], access: Access, rank: int, key: str) -> Iterator[Rule]:
    for path in paths:
        if path not in PRIVATE_PLACES:
            yield Rule(path=path, access=access, rank=rank, why=key)


def pins(area: str, below: Iterable[str]) -> list[str]:
    """Directories of a writable area that may not be renamed, because something below them is protected."""
    found = {parent for path in below if is_within(path, area) for parent in parents_between(area, path)}
    return sorted(found, key=lambda path: (path.count("/"), path))
