"""
Limits of memory, processes and processor time of one sandbox: control groups where the host lets us make them, rlimits elsewhere.

Version 1 needs write access to the `memory` and `pids` hierarchies (root), version 2 a delegated group
(`delegation.py`).
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import NamedTuple

import msgspec

from oqto_plugin_sandbox import delegation
from oqto_plugin_sandbox.policy.model import Limits

MIB = 1 << 20
PREFIX = "oqto-sandbox-"
_V1 = {"memory": "memory.limit_in_bytes", "pids": "pids.max"}
_V2 = {"memory": "memory.max", "pids": "pids.max"}


_KILLS = {"memory.oom_control": "memory", "memory.events": "memory", "pids.events": "pids"}
_COUNTS = {"memory": "oom_kill", "pids": "max"}


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """The control groups of one sandbox. `entries`: files a process enters by; `causes`: where kills are counted."""

    folders: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    causes: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    """Limits that no group holds; an rlimit stands in."""

    cpu_time: str = ""
    """The file that counts the processor time of all its processes; empty where each one has an rlimit alone."""

    def met(self) -> dict[str, int]:
        """How often each controller stopped something so far."""
        found: dict[str, int] = {}
        for folder in self.folders:
            for file, controller in _KILLS.items():
                words = dict(
                    line.split(" ", 1)
                    for line in delegation.text(Path(folder) / file).splitlines()
                    if " " in line
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
    counting, cpu_time = _counting(limits, name)
    folders = tuple(sorted({str(folder) for folder in (*found.values(), *counting)}))
    causes = _causes(found["memory"], limits) if "memory" in found else ()
    entries = tuple(f"{folder}/cgroup.procs" for folder in folders)
    return Groups(folders=folders, entries=entries, causes=causes, missing=tuple(missing), cpu_time=cpu_time)


def _counting(limits: Limits, name: str) -> tuple[list[Path], str]:
    """A group that counts processor time, with its file. Version 2 counts in every group, without a controller."""
    if not limits.cpu_seconds:
        return [], ""
    unified = delegation.unified()
    parent, file = (unified, "cpu.stat") if unified else (_own_part("cpuacct"), "cpuacct.usage")
    if parent is None:
        return [], ""
    folder = parent / f"{PREFIX}{name}"
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
    return ([folder], str(folder / file)) if (folder / file).exists() else ([], "")


def stand_ins(limits: Limits, missing: tuple[str, ...]) -> list[tuple[int, int]]:
    """Rlimits for what no group holds: data of each process; processes of the whole user."""
    values = wanted(limits)
    numbers = {"memory": resource.RLIMIT_DATA, "pids": resource.RLIMIT_NPROC}
    return [(numbers[name], values[name]) for name in missing]


def available() -> dict[str, bool]:
    """Which limits this host can hold in a group, for the health report."""
    return {controller: _parent(controller) is not None for controller in _V1}


class _Parent(NamedTuple):
    """Where groups are made."""

    folder: Path
    is_unified: bool


def _make(controller: str, value: int, name: str) -> Path | None:
    parent = _parent(controller)
    if parent is None:
        return None
    folder = parent.folder / f"{PREFIX}{name}"
    try:
        folder.mkdir(exist_ok=True)
        (folder / (_V2 if parent.is_unified else _V1)[controller]).write_text(str(value))
    except OSError:
        return None
    if controller == "memory":
        # Else what does not fit goes to swap; its accounting may be off, and then there is nothing to bound.
        swap, most = ("memory.swap.max", 0) if parent.is_unified else ("memory.memsw.limit_in_bytes", value)
        if (folder / swap).exists():
            with contextlib.suppress(OSError):
                (folder / swap).write_text(str(most))
    return folder


def _causes(folder: Path, limits: Limits) -> tuple[tuple[str, str], ...]:
    files = [folder / name for name, controller in _KILLS.items() if controller == "memory"]
    return tuple((str(file), f"memory limit {limits.memory_mb} MiB") for file in files if file.exists())


def _parent(controller: str) -> _Parent | None:
    """Where this process may make groups that limit `controller`."""
    folder = delegation.unified()
    if folder is not None and delegation.hands_down(folder, controller):
        return _Parent(folder, is_unified=True)
    own = _own_part(controller)
    return _Parent(own, is_unified=False) if own else None


def _own_part(controller: str) -> Path | None:
    """Our group of version 1, if we may divide it."""
    own = delegation.own_groups().get(controller)
    if own is None:
        return None
    folder = delegation.ROOT / controller / own.lstrip("/")
    is_ours = all(os.access(folder / name, os.W_OK) for name in ("", "cgroup.procs"))
    return folder if is_ours else None
