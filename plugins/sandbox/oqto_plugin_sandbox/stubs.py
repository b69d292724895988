"""
Denied names that do not exist yet: an empty folder keeps the name, so that the mask over it has something to hold.

The folders are ours only as long as sandboxes use them. Every sandbox holds a shared lock on each; whoever
made a folder removes it when nobody holds it and it is still empty. Locks end with their process, and a list
on disk names the folders that a killed runner left behind.
"""

# ruff: noqa: PTH106, PTH120, PTH123 - paths are passed on as text, exactly as the kernel sees them

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.opening import make_beneath, open_plain

MODE = 0o700
TRIES = 5


class Stubs:
    """The folders that this process made, also in an earlier life. `record` is a file of its own."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._made = set(self._remembered())

    def hold(self, paths: Iterable[str]) -> list[int]:
        """Make what is missing and lock all; the caller owns the descriptors. Raises `Unconfined`."""
        held: list[int] = []
        try:
            held.extend(self._hold(path) for path in paths)
        except OSError as exc:
            release(held)
            raise Unconfined(
                f"cannot keep the denied name {exc.filename or ''} free: {exc.strerror}"
            ) from exc
        return held

    def sweep(self) -> None:
        """Remove the folders that nobody holds and that are still empty."""
        with self._lock:
            left = {path for path in self._made if not _remove(path)}
            if left != self._made:
                self._made = left
                self._remember()

    def _hold(self, path: str) -> int:
        for _ in range(TRIES):
            self._make(path)
            fd = _open(path)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if os.fstat(fd).st_nlink:  # 0: another sandbox removed it before we had the lock
                return fd
            os.close(fd)
        raise OSError(0, "it is made and removed all the time", path)

    def _make(self, path: str) -> None:
        """The list is written first: a folder that nobody remembers would stay for good."""
        if os.path.lexists(path):
            return
        with self._lock:
            self._made.add(path)
            self._remember()
        make_beneath(os.path.dirname(path), path, MODE)

    def _remembered(self) -> list[str]:
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=list[str])
        except (OSError, msgspec.DecodeError):
            return []

    def _remember(self) -> None:
        new = self._record.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(sorted(self._made)))
        new.replace(self._record)


def release(held: Iterable[int]) -> None:
    for fd in held:
        os.close(fd)


def _open(path: str) -> int:
    """For a lock; a symbolic link anywhere in the path is refused. Raises `OSError`."""
    plain = open_plain(path)
    try:
        return os.open(f"/proc/self/fd/{plain}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(plain)


def _remove(path: str) -> bool:
    """Whether the folder needs no further care: it is gone, or it is somebody's now."""
    try:
        fd = _open(path)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rmdir(path)
    except BlockingIOError:
        return False
    except OSError:
        return True  # not empty: what is in it is the person's
    else:
        return True
    finally:
        os.close(fd)
