"""
Work without a request: on one worker of several, chosen by a file lock.

Granian overlaps old and new workers during a reload, so leadership is a lock and not a convention. A
second, shared lock tells the last worker of an orderly stop that it is the last.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from oqto_platform.types import Job

log = structlog.get_logger("oqto.background")

RETRY_S = 0.5


class Leadership:
    """Held from the moment the lock is got until `release`."""

    def __init__(self, state_dir: Path) -> None:
        self._lock = _open(state_dir / "leader.lock")
        self._presence = _open(state_dir / "workers.lock")
        fcntl.flock(self._presence, fcntl.LOCK_SH)
        self._holds = False
        self.try_lead()

    def leads(self) -> bool:
        """Whether this worker leads now."""
        return self._holds

    def try_lead(self) -> bool:
        """Take the lead if nobody has it."""
        if not self._holds:
            self._holds = _try_lock(self._lock)
            if self._holds:
                log.info("this worker leads", pid=os.getpid())
        return self._holds

    def release(self) -> bool:
        """Give everything up; true when no other worker of this server is left."""
        self._holds = False
        os.close(self._lock)
        fcntl.flock(self._presence, fcntl.LOCK_UN)
        is_last = _try_lock(self._presence)
        os.close(self._presence)
        return is_last


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def run_while_leading(leadership: Leadership, job: Job) -> None:
    """Run `job` every `every_s` while this worker leads; a failure is logged and the job goes on."""
    while True:
        if not leadership.try_lead():
            await asyncio.sleep(RETRY_S)
            continue
        await _once(job.name, job.run)
        await asyncio.sleep(job.every_s)


async def _once(name: str, run: Callable[[], Awaitable[None]]) -> None:
    try:
        await run()
    except Exception:  # a job of a plugin may raise anything; the next round must still come
        log.exception("job failed", job=name)
