"""
Everything that descends from one agent, found and ended whatever it did to hide.

A control group holds all of it where one can be made. Everywhere, and in addition: the process group and
session of the agent, what descends from it, what was seen to descend from it earlier, and orphans that
the kernel gave to the runner (it is a child subreaper) and that carry the session's id. Orphans of a runner
that was killed went to somebody else, so after a crash whoever carries the id is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal

import structlog

from oqto_platform import clock
from oqto_runner import cgroup, procfs
from oqto_runner.procfs import Proc

KILL_TIMEOUT_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36
log = structlog.get_logger("oqto.process")


def become_subreaper() -> None:
    """Make orphans of agents children of the runner instead of init's. Raises `OSError`."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


class Scope:
    """The processes of one session's agent; `is_inherited` when an earlier runner, now dead, started it."""

    def __init__(
        self,
        session_id: str,
        leader: Proc | None,
        group: cgroup.Cgroup | None,
        *,
        is_inherited: bool = False,
    ) -> None:
        self.leader = leader
        self.group = group
        self._is_inherited = is_inherited
        self._marker = f"OQTO_SESSION_ID={session_id}".encode()
        self._seen: set[tuple[int, int]] = {leader.key} if leader else set()

    def members(self, procs: dict[int, Proc] | None = None) -> list[Proc]:
        """
        Every living process of the session; remembers them, so that one which leaves its group is still known.

        `procs` is the process table where the caller has read it already.
        """
        procs = procfs.table() if procs is None else procs
        found = procfs.descendants(procs, self._roots(procs)) - {os.getpid()}
        alive = [procs[pid] for pid in found if pid in procs]
        self._seen = {proc.key for proc in alive}
        return [proc for proc in alive if not proc.is_zombie]

    def terminate(self) -> None:
        """SIGTERM to the agent's process group."""
        if self.leader is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.leader.pid, signal.SIGTERM)

    def kill_now(self) -> None:
        """One round of SIGKILL, without waiting."""
        self._kill_once(self.members())

    async def kill(self) -> bool:
        """SIGKILL until nothing is left; `False` when something survives `KILL_TIMEOUT_S`."""
        deadline = clock.monotonic() + KILL_TIMEOUT_S
        while members := self.members():
            if clock.monotonic() > deadline:
                log.error("processes survive SIGKILL", pids=[proc.pid for proc in members])
                return False
            self._kill_once(members)
            await asyncio.sleep(0.01)
        self._reap()
        if self.group is not None:
            self.group.remove()
        return True

    def _kill_once(self, members: list[Proc]) -> None:
        if self.group is not None:
            self.group.kill()
        for proc in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(proc.pid, signal.SIGKILL)

    def _reap(self) -> None:
        # The leader belongs to the event loop; the others became our children when they were orphaned.
        for pid, _ in self._seen:
            if self.leader is None or pid != self.leader.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _roots(self, procs: dict[int, Proc]) -> set[int]:
        known = {proc.pid for proc in procs.values() if proc.key in self._seen}
        grouped = set(self.group.pids()) if self.group is not None else set()
        return known | grouped | self._of_session(procs) | self._orphans(procs)

    def _of_session(self, procs: dict[int, Proc]) -> set[int]:
        leader = self.leader
        if leader is None or procs.get(leader.pid, leader).key != leader.key:
            return set()  # the number now belongs to somebody else
        return {p.pid for p in procs.values() if leader.pid in (p.group, p.session)}

    def _orphans(self, procs: dict[int, Proc]) -> set[int]:
        parent = os.getpid()
        near = (proc.pid for proc in procs.values() if self._is_inherited or proc.parent == parent)
        return {pid for pid in near if procfs.environment_has(pid, self._marker)}


class Reaper:
    """Collects orphans that ended; those of nobody else, so only what stays a zombie for two sweeps."""

    def __init__(self) -> None:
        self._before: set[tuple[int, int]] = set()

    @property
    def has_suspects(self) -> bool:
        return bool(self._before)

    def sweep(self) -> None:
        zombies = _zombies() if _has_zombie() else set()
        for pid, _ in zombies & self._before:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._before = zombies


def _has_zombie() -> bool:
    """One question to the kernel; the process table of a busy machine takes milliseconds."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _zombies() -> set[tuple[int, int]]:
    return {proc.key for proc in procfs.table().values() if proc.is_zombie and proc.parent == os.getpid()}
