"""
A control group per agent where the kernel lets us make one: then nothing can slip away from the end.

Under systemd the unit has `Delegate=yes`, so the runner's own group is writable. Version 2 is preferred;
of version 1 any hierarchy that only counts will do.
"""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from pathlib import Path

_V1 = ("name=systemd", "pids", "freezer")
PREFIX = "oqto-"


class Cgroup:
    """One control group; made by `create`, gone after `remove`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pids(self) -> list[int]:
        """Who is in it now; nobody when it is gone."""
        try:
            return [int(pid) for pid in self.procs.read_text().split()]
        except OSError:
            return []

    def kill(self) -> bool:
        """SIGKILL to everyone in it at one instant; `False` where the kernel cannot."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except OSError:
            return False
        return True

    @property
    def procs(self) -> Path:
        """The file through which a process enters by writing `0`."""
        return self.path / "cgroup.procs"

    def remove(self) -> None:
        try:
            self.path.rmdir()
        except OSError:
            return


def place(name: str) -> Path | None:
    """Where the group `name` is made; `None` when no hierarchy is writable."""
    base = writable_base()
    return base / f"{PREFIX}{name}" if base is not None else None


def create(name: str) -> Cgroup | None:
    """A fresh group below the runner's own; `None` when no hierarchy is writable."""
    path = place(name)
    if path is None:
        return None
    try:
        path.mkdir(exist_ok=True)
    except OSError:
        return None
    return Cgroup(path)


def make_ready(name: str) -> None:
    """
    Make the group `name`, and an entry that follows within about 10 ms cheap.

    The kernel lets a whole RCU grace period pass before somebody may enter a group, unless that has just
    happened; moving this process to where it is already counts. Blocks for about 10 ms, as does who makes
    or removes a group meanwhile: that is why ours is made first.
    """
    create(name)
    base = writable_base()
    if base is not None:
        with contextlib.suppress(OSError):
            (base / "cgroup.procs").write_text("0")


def remove(name: str) -> None:
    """Remove the group `name` if there is one and nobody is in it."""
    path = place(name)
    if path is not None:
        Cgroup(path).remove()


@cache
def writable_base() -> Path | None:
    """The folder of the runner's own group in the first hierarchy that it may write to."""
    for folder in _candidates():
        try:
            # A name of its own: two threads that ask at the same time must come to the same answer.
            Path(tempfile.mkdtemp(prefix=f"{PREFIX}probe-", dir=folder)).rmdir()
        except OSError:
            continue
        return folder
    return None


def _candidates() -> list[Path]:
    own = dict(_own_groups())
    mounts = _mounts()
    names = [name for name in ("", *_V1) if name in own and name in mounts]
    return [mounts[name] / own[name].lstrip("/") for name in names]


def _own_groups() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [(name, path) for line in lines for _, name, path in [line.split(":", 2)]]


def _mounts() -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        path = Path(before.split(" ")[4])
        if kind == "cgroup2":
            found[""] = path
        elif kind == "cgroup":
            found.update({name: path for name in _V1 if name in options.split(" ")[-1].split(",")})
    return found
