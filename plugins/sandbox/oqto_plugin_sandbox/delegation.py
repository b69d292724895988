"""
The runner's own control group of version 2, arranged so that sandboxes below it can have limits.

A group whose children have controllers may hold no process itself. A unit with `Delegate=yes` starts the
runner in just that group, so the runner moves with all that is there into a child and then hands the
controllers down. Done once, when the plugin starts; where it cannot be done nothing changes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import structlog

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
SELF = "oqto.self"
CONTROLLERS = ("memory", "pids")
MARK = "user.delegate"
"""systemd's sign on a group that it handed over. In others, a terminal's for example, nobody is moved."""

TRIES = 5

log = structlog.get_logger("oqto.sandbox")


def own_groups() -> dict[str, str]:
    """Controller to this process's group; version 2 has the empty name."""
    groups = {}
    for line in text(OWN).splitlines():
        _, names, path = line.split(":", 2)
        groups.update(dict.fromkeys(names.split(","), path))
    return groups


def unified() -> Path | None:
    """The group of version 2 that this process may divide; `None` where there is none or it is not ours."""
    if not (ROOT / "cgroup.controllers").exists() or "" not in (own := own_groups()):
        return None
    folder = ROOT / own[""].lstrip("/")
    if folder != ROOT and (folder.name == SELF or _is_delegated(folder.parent)):
        folder = folder.parent  # moved by us, or started in a part of the unit by `DelegateSubgroup=`
    is_ours = all(os.access(folder / name, os.W_OK) for name in ("", "cgroup.procs"))
    return folder if is_ours and not _is_of_the_machine(folder) else None


def _is_of_the_machine(folder: Path) -> bool:
    """Only the root of all groups has no events; what a container sees as the root is a group like others."""
    return folder == ROOT and not (ROOT / "cgroup.events").exists()


def hands_down(folder: Path, controller: str) -> bool:
    return controller in text(folder / "cgroup.subtree_control").split()


def arrange(controllers: tuple[str, ...] = CONTROLLERS) -> bool:
    """Let children of our group have `controllers`, as far as it has them itself. Whether all are handed down."""
    folder = unified()
    if folder is None or not _is_delegated(folder):
        return False
    wanted = [name for name in controllers if name in text(folder / "cgroup.controllers").split()]
    if missing := [name for name in wanted if not hands_down(folder, name)]:
        try:
            _move_into_child(folder)
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
        except OSError as exc:
            log.warning("control groups cannot be handed down", group=str(folder), reason=str(exc))
            return False
    return wanted == list(controllers)


def _is_delegated(folder: Path) -> bool:
    try:
        return os.getxattr(folder, MARK) == b"1"
    except OSError:
        return False


def _move_into_child(folder: Path) -> None:
    """All processes, ours last: what is forked meanwhile follows in the next round."""
    child = folder / SELF
    child.mkdir(exist_ok=True)
    for _ in range(TRIES):
        pids = text(folder / "cgroup.procs").split()
        for pid in sorted(pids, key=lambda pid: pid == str(os.getpid())):
            with contextlib.suppress(ProcessLookupError):
                (child / "cgroup.procs").write_text(pid)
        if not text(folder / "cgroup.procs").split():
            return


def text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
