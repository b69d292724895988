"""
Denied names that do not exist yet: an empty folder keeps the name, so that the mask over it has something to hold.

The folders are ours only as long as sandboxes use them. Every sandbox holds a shared lock on each, and the
last to let go removes what is marked as ours and still empty. Locks end with their process, the mark lies on
the folder itself, and each folder is noted before it is made: what a killed runner left behind goes with the
next session that uses the name, or with the next start of a runner.
"""

# ruff: noqa: PTH106, PTH120 - paths are passed on as text, exactly as the kernel sees them

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.model import upward
from oqto_plugin_sandbox.plan.opening import make_beneath, open_plain

MODE = 0o700
MARK = "user.oqto.reserved"
TRIES = 5


class Held(NamedTuple):
    """A denied name in use by one sandbox. `is_ours`: made here, for file systems that keep no marks."""

    path: str
    fd: int
    is_ours: bool


class Stubs:
    """The stub folders of one user; `notes` is a private folder with the path of each that was made."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._sweep()

    def hold(self, paths: Iterable[str]) -> list[Held]:
        """Make what is missing, with its parents, and lock all, until `give_back`. Raises `Unconfined`."""
        held: list[Held] = []
        try:
            for path in paths:
                held.extend(self._hold(one) for one in _to_make(path))
        except OSError as exc:
            self.give_back(held)
            raise Unconfined(
                f"cannot keep the denied name {exc.filename or ''} free: {exc.strerror}"
            ) from exc
        return held

    def give_back(self, held: Iterable[Held]) -> None:
        """Let go, deepest first, and remove the folders of ours that nobody else holds and that are still empty."""
        for one in sorted(held, key=lambda one: len(one.path), reverse=True):
            is_ours = one.is_ours or _is_marked(one.fd)
            os.close(one.fd)
            if is_ours:
                self._remove(one.path)

    def _hold(self, path: str) -> Held:
        for _ in range(TRIES):
            is_ours = not os.path.lexists(path)
            if is_ours:
                self._note(path)
                make_beneath(os.path.dirname(path), path, MODE)
            fd = _open(path)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if os.fstat(fd).st_nlink:  # 0: another sandbox removed it before we had the lock
                _mark(fd, is_ours=is_ours)
                return Held(path, fd, is_ours)
            os.close(fd)
        raise OSError(0, "it is made and removed all the time", path)

    def _sweep(self) -> None:
        """What a runner left behind that did not end in order."""
        for note in self._notes.iterdir() if self._notes.is_dir() else ():
            with contextlib.suppress(OSError):
                self._remove(os.fsdecode(note.read_bytes()))

    def _note(self, path: str) -> None:
        self._notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._note_of(path).write_bytes(os.fsencode(path))

    def _note_of(self, path: str) -> Path:
        return self._notes / hashlib.sha256(os.fsencode(path)).hexdigest()

    def _remove(self, path: str) -> None:
        """Not if somebody holds it or something is in it: then it is theirs."""
        with contextlib.suppress(OSError):
            fd = _open(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rmdir(path)
            finally:
                os.close(fd)
        if not _is_held(path):
            self._note_of(path).unlink(missing_ok=True)


def _to_make(path: str) -> list[str]:
    """The path and those of its parents that are missing or a stub themselves, shallow first."""
    found = [path]
    for folder in list(upward(path))[1:]:
        if os.path.lexists(folder) and not _is_stub(folder):
            break
        found.append(folder)
    return found[::-1]


def _is_stub(path: str) -> bool:
    try:
        return os.getxattr(path, MARK, follow_symlinks=False) == b"1"
    except OSError:
        return False


def _is_held(path: str) -> bool:
    """Whether another sandbox holds the folder, so that its note is still needed."""
    with contextlib.suppress(OSError):
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
    return False


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
