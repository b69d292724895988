"""What each worker holds: one small file per worker, so that any of them can tell of all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.config.live import Live
from oqto_platform.config.view import plain, value_of


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose new value holds after the next start. Secrets are hidden."""

    key: str
    running: Any
    wanted: Any


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker holds. `error` is why the files as they are now were not taken."""

    pid: int
    source: str
    generation: int
    digest: str
    loaded_at: float
    error: str = ""
    error_at: float = 0.0
    pending: tuple[Waiting, ...] = ()


class ConfigStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole server. `is_agreed`: all workers hold the same."""

    source: str
    error: str
    error_at: float
    loaded_at: float
    pending: tuple[Waiting, ...]
    is_agreed: bool
    workers: tuple[WorkerStatus, ...]


class Notice:
    """The file of a worker. A lock on it, held as long as the process lives, tells that it is not stale."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}.json"
        self._handle = _made(self._path)

    def write(self, live: Live) -> None:
        """Say what this worker holds now."""
        text = msgspec.json.encode(worker(live))
        os.pwrite(self._handle, text, 0)
        os.ftruncate(self._handle, len(text))

    def close(self) -> None:
        """The worker ends."""
        self._path.unlink(missing_ok=True)
        os.close(self._handle)

    def overall(self, live: Live) -> ConfigStatus:
        """What a worker holds, with what the others hold."""
        own = worker(live)
        others = [other for other in _living(self._folder) if other.pid != own.pid]
        workers = tuple(sorted([own, *others], key=lambda status: status.pid))
        return ConfigStatus(
            source=own.source,
            error=own.error,
            error_at=own.error_at,
            loaded_at=own.loaded_at,
            pending=own.pending,
            is_agreed=len({(status.digest, status.error, str(status.pending)) for status in workers}) == 1,
            workers=workers,
        )


def worker(live: Live) -> WorkerStatus:
    """What `live` holds, without secrets."""
    return WorkerStatus(
        pid=os.getpid(),
        source=live.wanted.source,
        generation=live.current.generation,
        digest=live.wanted.digest[:16],
        loaded_at=live.loaded_at,
        error=live.error,
        error_at=live.error_at,
        pending=tuple(
            Waiting(
                key=name,
                running=plain(value_of(live.current, name)),
                wanted=plain(value_of(live.wanted, name)),
            )
            for name in live.pending
        ),
    )


def _made(path: Path) -> int:
    """Opens the file and locks it. Who looked in between took it for a stale one and removed it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)


def _living(folder: Path) -> Iterator[WorkerStatus]:
    for path in folder.glob("*.json"):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)  # nobody holds it: its worker was killed
        except BlockingIOError:
            try:
                yield msgspec.json.decode(os.pread(handle, 1 << 20, 0), type=WorkerStatus)
            except msgspec.DecodeError:
                continue  # it is being written
        finally:
            os.close(handle)
