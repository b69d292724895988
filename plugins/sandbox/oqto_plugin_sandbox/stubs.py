"""
Denied names that do not exist yet: an empty folder keeps the name, so that the mask over it has something to hold.

The folders are ours only as long as sandboxes use them. Every sandbox holds a shared lock on each, and the
last to let go removes what is marked as ours and still empty. Locks end with their process and the mark lies
on the folder itself, so what a killed runner left behind goes with the next session that uses the name.
"""

# ruff: noqa: PTH106, PTH120 - paths are passed on as text, exactly as the kernel sees them

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from typing import NamedTuple

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.opening import make_beneath, open_plain

MODE = 0o700
MARK = "user.oqto.reserved"
TRIES = 5


class Held(NamedTuple):
    """A denied name in use by one sandbox. `is_ours`: made here, for file systems that keep no marks."""

    path: str
    fd: int
    is_ours: bool


def hold(paths: Iterable[str]) -> list[Held]:
    """Make what is missing and lock all, until `give_back`. Raises `Unconfined`."""
    held: list[Held] = []
    try:
        held.extend(_hold(path) for path in paths)
    except OSError as exc:
        give_back(held)
        raise Unconfined(f"cannot keep the denied name {exc.filename or ''} free: {exc.strerror}") from exc
    return held


def give_back(held: Iterable[Held]) -> None:
    """Let go, and remove the folders of ours that nobody else holds and that are still empty."""
    for one in held:
        is_ours = one.is_ours or _is_marked(one.fd)
        os.close(one.fd)
        if is_ours:
            _remove(one.path)


def _hold(path: str) -> Held:
    for _ in range(TRIES):
        is_ours = not os.path.lexists(path)
        if is_ours:
            make_beneath(os.path.dirname(path), path, MODE)
        fd = _open(path)
        fcntl.flock(fd, fcntl.LOCK_SH)
        if os.fstat(fd).st_nlink:  # 0: another sandbox removed it before we had the lock
            _mark(fd, is_ours=is_ours)
            return Held(path, fd, is_ours)
        os.close(fd)
    raise OSError(0, "it is made and removed all the time", path)


def _open(path: str) -> int:
    """For a lock; a symbolic link anywhere in the path is refused. Raises `OSError`."""
    plain = open_plain(path)
    try:
        return os.open(f"/proc/self/fd/{plain}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(plain)


def _mark(fd: int, *, is_ours: bool) -> None:
    if is_ours:
        with contextlib.suppress(OSError):
            os.setxattr(fd, MARK, b"1")


def _is_marked(fd: int) -> bool:
    try:
        return os.getxattr(fd, MARK) == b"1"
    except OSError:
        return False


def _remove(path: str) -> None:
    """Not if somebody holds it or something is in it: then it is theirs."""
    with contextlib.suppress(OSError):
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rmdir(path)
        finally:
            os.close(fd)
