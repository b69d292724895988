"""Turn rules into mounts: the deepest rule wins, what is hidden stays hidden, what is protected stays put."""

# ruff: noqa: PTH120 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan import rules as wishes
from oqto_plugin_sandbox.plan.closed import refuse_closed
from oqto_plugin_sandbox.plan.composed import MOST_COPIES, PRIVATE_MB, composed, links, rights_of_small
from oqto_plugin_sandbox.plan.disk import Disk
from oqto_plugin_sandbox.plan.looks import Looks
from oqto_plugin_sandbox.plan.missing import reservable
from oqto_plugin_sandbox.plan.model import (
    PRIVATE_PLACES,
    Bind,
    Copy,
    Folder,
    Link,
    Op,
    Plan,
    Request,
    Rule,
    Seal,
    Tmpfs,
    depth,
    is_within,
    upward,
)
from oqto_plugin_sandbox.plan.rules import Denials
from oqto_plugin_sandbox.plan.simulate import broken_promises
from oqto_plugin_sandbox.plan.system import hide, system_ops
from oqto_plugin_sandbox.policy.model import Policy

RELAY_FOLDER = "/run/oqto"
MAX_MOUNTS = 1000
GUARDED = (wishes.PROTECT_RANK, wishes.DENY_WRITE_RANK, wishes.DENY_READ_RANK)
SYSTEM_BINDS = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
NO_WORKSPACE = (*SYSTEM_BINDS, "/proc", "/dev", "/sys", "/run")


class _Choice(NamedTuple):
    """`folders` are shown entry by entry, `rules` are those that change something, shallow first."""

    denials: Denials
    folders: Mapping[str, str]
    rules: list[Rule]


def compose(policy: Policy, request: Request, looks: Looks | None = None) -> Plan:
    """
    The plan for one session, made anew. Raises `Unconfined` where the policy cannot hold on this machine.

    It follows from the policy, the request and `looks` alone, to which every look at the machine is added.
    """
    _check_workspace(policy, request)
    disk = Disk(request.home, request.workspace, looks)
    creates = _missing_folders(policy, request, disk)
    denials = wishes.denials(policy, request, disk)
    reserved = reservable(denials.hidden, request, disk) if request.reserves else ()
    shown = composed(policy, request, [*denials.named, *denials.sockets], disk)
    wanted = wishes.gather(policy, request, denials, shown.folders, disk)
    refuse_closed((rule for rule in wanted if rule.rank in GUARDED), policy, request, disk)
    rules = _choose(wanted, {*creates, *reserved}, disk)
    choice = _Choice(denials, _private_folders(policy, request, shown.folders), rules)
    plan = Plan(
        ops=_limited(_ops(policy, request, choice, disk)),
        creates=creates,
        reserved=_still_hidden(reserved, rules),
        notes=(*_notes(denials, disk), *shown.gaps),
    )
    _keep_promises(plan, denials, request, disk)
    return plan


def _private_folders(policy: Policy, request: Request, shown: Mapping[str, str]) -> Mapping[str, str]:
    return shown if policy.home == "rw" else {request.home: f'home = "{policy.home}"', **shown}


def _ops(policy: Policy, request: Request, choice: _Choice, disk: Disk) -> list[Op]:
    ops = [*system_ops(policy, request, disk), *_composed_ops(policy, request, choice, disk)]
    seals = [folder for folder in choice.folders if not _is_nested(folder, choice.folders)]
    below, copies = _below(choice.rules), _copies(choice, request, disk)
    for rule in choice.rules:
        ops += copies.get(rule.path) or _mounts(rule, below[rule.path], seals, disk)
    ops += _socket_ops(request)
    return [*ops, *(Seal(dest=path) for path in (*sorted(seals, key=depth, reverse=True), "/"))]


def _limited(ops: list[Op]) -> tuple[Op, ...]:
    if len(ops) > MAX_MOUNTS:
        raise Unconfined(
            f"the policy needs {len(ops)} mounts, the limit is {MAX_MOUNTS}; deny folders, not files"
        )
    return tuple(ops)


def _still_hidden(reserved: tuple[str, ...], rules: list[Rule]) -> tuple[str, ...]:
    hidden = {rule.path for rule in rules if rule.access == "hidden"}
    return tuple(path for path in reserved if path in hidden)


def _keep_promises(plan: Plan, denials: Denials, request: Request, disk: Disk) -> None:
    """The plan walked as data: what is denied must not be reachable, whatever the rules above did."""
    platform = {*request.readable, *request.writable}
    denied = (*denials.hidden, *denials.sockets)
    hidden = [path for path in denied if path not in platform and disk.is_real(path)]
    read_only = [path for path in denials.read_only if disk.is_real(path)]
    if broken := broken_promises(plan, hidden, read_only, disk.is_there):
        raise Unconfined(f"the plan of the sandbox does not hold: {broken[0]}; please report this policy")


def _notes(denials: Denials, disk: Disk) -> tuple[str, ...]:
    """A denied file with further names can be read by those, wherever they are."""
    return tuple(
        f"{path} is denied but has {count - 1} more name(s) (hard links), which no rule covers"
        for path in denials.hidden
        if (count := disk.names(path)) > 1
    )


def _check_workspace(policy: Policy, request: Request) -> None:
    if unfit := _unfit(policy, request):
        raise Unconfined(unfit)


def _unfit(policy: Policy, request: Request) -> str:
    """Why this folder can be no workspace; empty when it can."""
    workspace, home = request.workspace, request.home
    if workspace == "/" or (is_within(home, workspace) and workspace != home):
        return f"{workspace} contains the home directory; choose a folder below it as the workspace"
    if workspace == home and not policy.allow_home_workspace:
        return f"{workspace} is the home directory itself; choose a folder below it as the workspace"
    if system := next((place for place in NO_WORKSPACE if is_within(workspace, place)), ""):
        return f"{workspace} lies in {system}, which belongs to the system; choose another folder"
    for key, paths in (("deny_read", policy.deny_read), ("deny_write", policy.deny_write)):
        if path := next((path for path in paths if is_within(workspace, path)), ""):
            return f"the workspace {workspace} lies in {path}, which is in {key}; choose another folder"
    return ""


def _missing_folders(policy: Policy, request: Request, disk: Disk) -> tuple[str, ...]:
    """Folders that have to exist on the host: `.oqto`, and caches whose tool is installed."""
    wanted = [] if policy.readonly_workspace else [f"{request.workspace}/.oqto"]
    caches = (*policy.allow_write, *request.writable)
    inside = (path for path in caches if is_within(path, request.home) and path not in PRIVATE_PLACES)
    wanted += [path for path in inside if _may_create(path, request.home, disk)]
    return disk.missing(wanted)


def _may_create(path: str, home: str, disk: Disk) -> bool:
    parent = os.path.dirname(path)
    return parent == f"{home}/.cache" or disk.leads_to_folder(parent)


def _choose(wanted: list[Rule], creates: set[str], disk: Disk) -> list[Rule]:
    """One rule per path, shallow first, without those that change nothing."""
    strongest: dict[str, Rule] = {}
    for rule in wanted:
        known = strongest.get(rule.path)
        if known is None or (rule.rank > known.rank and not _only_reads(rule, known.access)):
            strongest[rule.path] = rule
    chosen: list[Rule] = []
    covers: dict[str, Rule] = {}
    for rule in sorted(strongest.values(), key=lambda rule: (depth(rule.path), rule.path)):
        matters = _matters(rule, covers, creates, disk)
        if matters:
            chosen.append(rule)
        if matters or rule.access == "hidden":
            covers[rule.path] = rule  # what is absent anyway needs no mask, yet nothing below it may appear
    return chosen


def _matters(rule: Rule, covers: dict[str, Rule], creates: set[str], disk: Disk) -> bool:
    kind = disk.kind(rule.path)
    is_missing = not kind and rule.path not in creates
    if is_missing and rule.rank != wishes.PLATFORM_RANK:
        return False
    cover = _cover(rule.path, covers)
    access = cover.access if cover else _system_access(rule.path)
    if cover and cover.rank > rule.rank and cover.access != "rw" and cover.rank > wishes.WORKSPACE_RANK:
        return False  # a denial holds at any depth
    if (access == rule.access and not _splits(rule)) or _only_reads(rule, access):
        return False
    if kind == stat.S_IFLNK:
        return _refuse_link(rule)
    if is_missing:
        return _refuse_missing(rule)
    return rule.access != "hidden" or access is not None


def _only_reads(rule: Rule, access: str | None) -> bool:
    """A program that wants to read what is already visible changes nothing, least of all the right to write."""
    return rule.rank == wishes.PLATFORM_RANK and rule.access == "ro" and access in ("ro", "rw")


def _splits(rule: Rule) -> bool:
    """The workspace is always a mount of its own: its protected names hang below it."""
    return rule.rank == wishes.WORKSPACE_RANK


def _refuse_link(rule: Rule) -> bool:
    if rule.access == "rw" or rule.rank in (wishes.PROTECT_RANK, wishes.PLATFORM_RANK):
        raise Unconfined(
            f"{rule.path} ({rule.why}) is a symbolic link, which could lead anywhere; remove the link"
        )
    return False


def _refuse_missing(rule: Rule) -> bool:
    if rule.rank == wishes.PLATFORM_RANK:
        raise Unconfined(f"{rule.path} ({rule.why}) does not exist")
    return False


def _cover(path: str, covers: dict[str, Rule]) -> Rule | None:
    """The deepest rule at or above `path`."""
    for folder in upward(path):
        if folder in covers:
            return covers[folder]
    return None


def _system_access(path: str) -> str | None:
    return "ro" if "/" + path.split("/", 2)[1] in SYSTEM_BINDS else None


def _composed_ops(policy: Policy, request: Request, choice: _Choice, disk: Disk) -> Iterator[Op]:
    """Private folders with the links of the real ones, and places for the mounts that follow."""
    denied = {rule.path for rule in choice.rules if rule.access == "hidden"} | set(policy.deny_read)
    for folder, why in choice.folders.items():
        nested = _is_nested(folder, choice.folders)
        yield Folder(dest=folder) if nested else Tmpfs(dest=folder, size_mb=PRIVATE_MB, why=why)
        if policy.home == "private" and folder == request.home:
            continue
        for path, target in links(folder, disk):
            if path not in denied:
                yield Link(dest=path, target=target)


def _is_nested(folder: str, folders: Mapping[str, str]) -> bool:
    """It lies in another private folder with nothing between them, so that one mount serves both."""
    return os.path.dirname(folder) in folders


def _copies(choice: _Choice, request: Request, disk: Disk) -> dict[str, list[Op]]:
    """
    Small files of composed folders. A mount would not show what replaces them on the host either.

    Those that the agent could read itself: the launcher copies nothing by rights that the agent lacks.
    """
    found: dict[str, list[Op]] = {}
    for rule in choice.rules:
        is_entry = rule.rank == wishes.HOME_RANK and rule.access == "ro"
        if not is_entry or disk.kind(rule.path) != stat.S_IFREG or len(found) == MOST_COPIES:
            continue
        if os.path.dirname(rule.path) in choice.folders:
            uid, mode = disk.ask(rights_of_small, rule.path)
            if uid == request.uid and mode & stat.S_IRUSR:
                found[rule.path] = [Copy(dest=rule.path, source=rule.path, mode=mode, why=rule.why)]
    return found


def _below(chosen: list[Rule]) -> dict[str, list[str]]:
    """Each chosen path with the chosen paths below it."""
    found: dict[str, list[str]] = {rule.path: [] for rule in chosen}
    for rule in chosen:
        for folder in upward(rule.path):
            if folder in found and folder != rule.path:
                found[folder].append(rule.path)
    return found


def _mounts(rule: Rule, below: list[str], seals: list[str], disk: Disk) -> list[Op]:
    bind = Bind(dest=rule.path, source=rule.path, writable=rule.access == "rw", why=rule.why)
    if rule.access == "ro":
        return [bind]
    if rule.access == "hidden":
        return _hidden(rule, below, seals, disk)
    pinned = wishes.pins(rule.path, below)
    if not pinned:
        return [bind]
    # Buried below the writable mount that follows: their only use is that a mount point cannot be renamed.
    carried = [Bind(dest=path, source=path, why="pin") for path in (rule.path, *pinned)]
    return [*carried, bind]


def _hidden(rule: Rule, below: list[str], seals: list[str], disk: Disk) -> list[Op]:
    is_folder = disk.is_folder(rule.path) or not disk.is_there(
        rule.path
    )  # a name that is kept free by a folder
    mask = hide(rule.path, is_folder=is_folder, has_children=bool(below), why=rule.why)
    if isinstance(mask, Tmpfs):
        seals.append(rule.path)
    return [mask]


def _socket_ops(request: Request) -> list[Op]:
    if not request.sockets:
        return []
    binds = [Bind(dest=inside, source=outside, why="relay") for outside, inside in request.sockets]
    return [Tmpfs(dest=RELAY_FOLDER, size_mb=1), *binds, Seal(dest=RELAY_FOLDER)]
