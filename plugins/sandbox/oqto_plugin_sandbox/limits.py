"""
Memory and process limits of one sandbox: control groups where the host lets us make them, rlimits elsewhere.

Version 1 needs write access to the `memory` and `pids` hierarchies (root). Version 2 needs a delegated
subtree whose parent already hands these controllers down.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

import msgspec

from oqto_plugin_sandbox.policy.model import Limits

MIB = 1 << 20
PREFIX = "oqto-sandbox-"
_V1 = {"memory": "memory.limit_in_bytes", "pids": "pids.max"}
_V2 = {"memory": "memory.max", "pids": "pids.max"}
_EVENTS = {"memory.limit_in_bytes": "memory.oom_control", "memory.max": "memory.events"}


_KILLS = {"memory.oom_control": "memory", "memory.events": "memory", "pids.events": "pids"}
_COUNTS = {"memory": "oom_kill", "pids": "max"}


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """The control groups of one sandbox. `entries`: files a process enters by; `causes`: where kills are counted."""

    folders: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    causes: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    """Limits that no group holds; an rlimit stands in."""

    def met(self) -> dict[str, int]:
        """How often each controller stopped something so far."""
        found: dict[str, int] = {}
        for folder in self.folders:
            for file, controller in _KILLS.items():
                words = dict(
                    line.split(" ", 1) for line in _text(Path(folder) / file).splitlines() if " " in line
                )
                if (count := words.get(_COUNTS[controller], "")).isdigit():
                    found[controller] = int(count)
        return found

    def remove(self) -> None:
        """Give the groups back; one that still has processes stays, and the next start reuses it."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def wanted(limits: Limits) -> dict[str, int]:
    """Controller to value, for what the policy limits."""
    values = {"memory": limits.memory_mb and limits.memory_mb * MIB, "pids": limits.pids}
    return {name: value for name, value in values.items() if value}


def make_groups(limits: Limits, name: str) -> Groups:
    """Groups for the limits of the policy, as far as this host has them."""
    found: dict[str, Path] = {}
    missing = []
    for controller, value in wanted(limits).items():
        folder = _make(controller, value, name)
        if folder is None:
            missing.append(controller)
        else:
            found[controller] = folder
    folders = tuple(sorted({str(folder) for folder in found.values()}))
    causes = _causes(found["memory"], limits) if "memory" in found else ()
    entries = tuple(f"{folder}/cgroup.procs" for folder in folders)
    return Groups(folders=folders, entries=entries, causes=causes, missing=tuple(missing))


def stand_ins(limits: Limits, missing: tuple[str, ...]) -> list[tuple[int, int]]:
    """Rlimits for what no group holds: data of each process; processes of the whole user."""
    values = wanted(limits)
    numbers = {"memory": resource.RLIMIT_DATA, "pids": resource.RLIMIT_NPROC}
    return [(numbers[name], values[name]) for name in missing]


def available() -> dict[str, bool]:
    """Which limits this host can hold in a group, for the health report."""
    return {controller: _parent(controller) is not None for controller in _V1}


def _make(controller: str, value: int, name: str) -> Path | None:
    parent = _parent(controller)
    if parent is None:
        return None
    folder = parent / f"{PREFIX}{name}"
    try:
        folder.mkdir(exist_ok=True)
        file = folder / (_V2 if (folder / "cgroup.events").exists() else _V1)[controller]
        file.write_text(str(value))
    except OSError:
        return None
    if file.name == "memory.limit_in_bytes":
        with contextlib.suppress(OSError):  # swap accounting may be off; then there is nothing to bound
            (folder / "memory.memsw.limit_in_bytes").write_text(str(value))
    return folder


def _causes(folder: Path, limits: Limits) -> tuple[tuple[str, str], ...]:
    events = [folder / name for name in _EVENTS.values() if (folder / name).exists()]
    return tuple((str(file), f"memory limit {limits.memory_mb} MiB") for file in events[:1])


def _parent(controller: str) -> Path | None:
    """The runner's own group in a hierarchy that counts `controller` and that we may write to."""
    own = _own_groups()
    for key, root in ((controller, Path("/sys/fs/cgroup") / controller), ("", Path("/sys/fs/cgroup"))):
        folder = root / own.get(key, "/missing").lstrip("/")
        if not os.access(folder / "cgroup.procs", os.W_OK) or not os.access(folder, os.W_OK):
            continue
        if key or controller in _words(folder / "cgroup.subtree_control"):
            return folder
    return None


def _own_groups() -> dict[str, str]:
    groups = {}
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        groups.update(dict.fromkeys(names.split(","), path))
    return groups


def _words(file: Path) -> list[str]:
    return _text(file).split()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
