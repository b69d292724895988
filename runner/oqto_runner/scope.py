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
from collections.abc import Iterable

import structlog

from oqto_platform import clock
from oqto_runner import cgroup, procfs
from oqto_runner.census import MARK, Census
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
        self._mark = MARK + session_id.encode()
        self._seen: set[tuple[int, int]] = {leader.key} if leader else set()

    def members(self, census: Census) -> list[Proc]:
        """Every living process of the session; remembers them, so that one which leaves its group is still known."""
        found = [proc for proc in census.below(self._roots(census)) if proc.pid != os.getpid()]
        self._seen = {proc.key for proc in found}
        return [proc for proc in found if not proc.is_zombie]

    def terminate(self) -> None:
        """SIGTERM to the agent's process group."""
        if self.leader is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.leader.pid, signal.SIGTERM)

    def kill_now(self) -> None:
        """One round of SIGKILL, without waiting."""
        self._kill_once(self.members(self._census()))

    async def kill(self) -> bool:
        """SIGKILL until nothing is left; `False` when something survives `KILL_TIMEOUT_S`."""
        deadline = clock.monotonic() + KILL_TIMEOUT_S
        while members := self.members(await asyncio.to_thread(self._census)):
            if clock.monotonic() > deadline:
                log.error("processes survive SIGKILL", pids=[proc.pid for proc in members])
                return False
            self._kill_once(members)
            await asyncio.sleep(0.01)
        self._reap()
        if self.group is not None:
            self.group.remove()
        return True

    def _census(self) -> Census:
        return Census.taken(reads_all=self._is_inherited)

    def _kill_once(self, members: list[Proc]) -> None:
        if self.group is not None:
            self.group.kill()
        for proc in members:
            # The table is some milliseconds old; its number may be somebody else's by now.
            if (now := procfs.read(proc.pid)) is not None and now.key == proc.key:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(proc.pid, signal.SIGKILL)

    def _reap(self) -> None:
        # The leader belongs to the event loop; the others became our children when they were orphaned.
        _collect(pid for pid, _ in self._seen if self.leader is None or pid != self.leader.pid)

    def _roots(self, census: Census) -> set[int]:
        known = {key[0] for key in self._seen if census.find(key) is not None}
        grouped = set(self.group.pids()) if self.group is not None else set()
        led = census.grouped(self.leader) if self.leader is not None else set()
        return known | grouped | led | census.marked(self._mark)


def _collect(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


class Reaper:
    """Collects orphans that ended; those of nobody else, so only what stays a zombie for two sweeps."""

    def __init__(self) -> None:
        self._before: set[tuple[int, int]] = set()

    @property
    def has_suspects(self) -> bool:
        return bool(self._before)

    async def sweep(self) -> None:
        zombies = await asyncio.to_thread(_zombies) if _has_zombie() else set()
        _collect(pid for pid, _ in zombies & self._before)
        self._before = zombies


def _has_zombie() -> bool:
    """One question to the kernel; the process table of a busy machine takes milliseconds."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _zombies() -> set[tuple[int, int]]:
    return {proc.key for proc in procfs.table().values() if proc.is_zombie and proc.parent == os.getpid()}
