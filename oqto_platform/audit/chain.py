"""
Appending to the chain: one lock orders all writers, the last line says what the next one carries.

What a killed writer left is mended and told; what looks cut or changed is told and never mended, so that
`verify` still finds it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from oqto_platform.audit import files, places, record
from oqto_platform.audit.events import (
    Action,
    AuditBroken,
    AuditContinued,
    AuditMoved,
    AuditRepaired,
    AuditUnsealed,
)
from oqto_platform.audit.files import Seal

Compose = Callable[[Action, int, str], bytes]
"""The line, without its newline, of an event with its number and the hash that it carries."""


class Tail(msgspec.Struct, frozen=True):
    """How a file ends: its last record as a seal, and which hash that record carries."""

    seal: Seal = Seal()
    prev: str = ""
    torn_bytes: int = 0


class Chain:
    """The log at `path`, sealed at `seal`. Errors are `OSError`; a line that cannot be written whole is taken back."""

    def __init__(self, path: Path, seal: Path, *, max_bytes: int, compose: Compose) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._seal = seal
        self._compose = compose
        self._threads = threading.Lock()  # a file lock does not part the threads of one process
        self._known: tuple[int, int, Seal] | None = None
        """Inode and size after our own last line, and its seal: then nothing needs to be read."""

    def append(self, event: Action) -> list[Action]:
        """Write one record. Answers with what had to be told before it: repairs and breaks."""
        with self._threads:
            return self._write(event)

    def move(self, path: Path) -> None:
        """
        Go on in the file `path`, which is empty, not there, or one that this chain has left before.

        Harmless when another writer has moved it already.
        """
        with self._threads:
            if path == (source := self.path):
                return
            with files.locked(source, fcntl.LOCK_EX) as handle:
                if is_ours := self._left_for(handle) is None:
                    _put_aside(path)
                    self._append(handle, AuditMoved(to=str(path)))
                places.remember(self._seal, path)
            self.path, self._known = path, None
            if is_ours:
                self._write(AuditContinued(source=str(source)))

    def _write(self, event: Action) -> list[Action]:
        while True:
            with files.locked(self.path, fcntl.LOCK_EX) as handle:
                if (elsewhere := self._left_for(handle)) is not None:
                    places.remember(self._seal, elsewhere)  # who left it may have been killed before
                    self.path, self._known = elsewhere, None
                    continue
                if self._is_full(handle):
                    self.path.rename(_next_name(self.path))
                    continue
                return self._append(handle, event)

    def _left_for(self, handle: int) -> Path | None:
        """Where the chain went on when this file is one that it has left."""
        status = os.fstat(handle)
        if self._known is not None and self._known[:2] == (status.st_ino, status.st_size):
            return None
        last = record.read(files.last_line(handle, files.whole_bytes(handle, status.st_size)))
        if last is None or last.event != AuditMoved.name:
            return None
        return Path(str(last.fields.get("to", "")))

    def _append(self, handle: int, event: Action) -> list[Action]:
        base, told = self._base(handle)
        for one in (*told, event):
            line = self._compose(one, base.seq + 1, base.digest)
            _write(handle, line + b"\n")
            base = Seal(base.seq + 1, record.digest(line))
        files.write_seal(self._seal, base)
        status = os.fstat(handle)
        self._known = (status.st_ino, status.st_size, base)
        return told

    def _base(self, handle: int) -> tuple[Seal, list[Action]]:
        status = os.fstat(handle)
        seal = files.read_seal(self._seal)
        if self._known is not None and self._known == (status.st_ino, status.st_size, seal):
            return self._known[2], []
        tail = self._tail(handle, status.st_size)
        told: list[Action] = [AuditRepaired(torn_bytes=tail.torn_bytes)] if tail.torn_bytes else []
        if seal is None:
            return tail.seal, told + ([AuditUnsealed(outcome="failed")] if tail.seal != Seal() else [])
        is_next = tail.seal.seq == seal.seq + 1 and tail.prev == seal.digest  # killed before it was sealed
        if is_next or tail.seal == seal:
            return tail.seal, told
        return seal, [*told, AuditBroken(sealed=seal.seq, found=tail.seal.seq, outcome="failed")]

    def _tail(self, handle: int, size: int) -> Tail:
        """How the log ends; a line without its end is cut off."""
        whole = files.whole_bytes(handle, size)
        if whole < size:
            os.ftruncate(handle, whole)
        tail = tail_of(handle, whole)
        if whole == 0 and (full := places.closed(self.path, self._seal)):
            tail = _tail_of_file(full[-1])
        return msgspec.structs.replace(tail, torn_bytes=size - whole)

    def _is_full(self, handle: int) -> bool:
        return os.fstat(handle).st_size >= self.max_bytes


def _put_aside(path: Path) -> None:
    """A file that the chain has left keeps what it holds, under the name of an older one."""
    if path.exists() and path.stat().st_size > 0:
        path.rename(_next_name(path))


def _next_name(path: Path) -> Path:
    full = files.older(path)
    number = int(full[-1].suffix[1:]) + 1 if full else 1
    return path.with_name(f"{path.name}.{number}")


def tail_of(handle: int, size: int) -> Tail:
    """How a file of `size` bytes ends. Lines without a number (written before there were seals) are counted."""
    line = files.last_line(handle, size)
    if not line:
        return Tail()
    found = record.read(line)
    if found is None:
        return Tail(Seal(0, record.digest(line)), "?")
    seq = found.seq or sum(1 for _ in files.lines(handle, size))
    return Tail(Seal(seq, record.digest(line)), found.prev)


def _tail_of_file(path: Path) -> Tail:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return tail_of(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _write(handle: int, line: bytes) -> None:
    """All of it or nothing: half a line would be a break that nobody made."""
    before = os.fstat(handle).st_size
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError:
        os.ftruncate(handle, before)
        raise
