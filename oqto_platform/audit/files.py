"""
The files of the audit log: the one that grows, the older ones beside it, and the seal.

`audit.log.jsonl` grows; when it is full it becomes `audit.log.jsonl.1`, the next one `.2` and so on: an older
file never changes, not even its name. The seal says which record was the last. It lies apart, because from the
lines alone nobody can tell that some were cut off at the end.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from oqto_platform.audit.record import FIRST

CHUNK = 256 * 1024
SEAL_BYTES = 20 + 1 + 64 + 1


class Seal(msgspec.Struct, frozen=True):
    """The last record's number and hash."""

    seq: int = 0
    digest: str = FIRST


def older(path: Path) -> list[Path]:
    """The full files, oldest first."""
    found = [
        (int(file.suffix[1:]), file)
        for file in path.parent.glob(f"{path.name}.*")
        if file.suffix[1:].isdigit()
    ]
    return [file for _, file in sorted(found)]


def open_current(path: Path) -> int:
    """The growing file, made (0600) when it is missing."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    _leave_to_owner(handle, path)
    return handle


def _leave_to_owner(handle: int, path: Path) -> None:
    # `sudo oqtoctl` may be the first to write; the server's account must be able to go on.
    if os.geteuid() == 0 and os.fstat(handle).st_size == 0:
        folder = path.parent.stat()
        os.fchown(handle, folder.st_uid, folder.st_gid)


@contextmanager
def locked(path: Path, how: int) -> Iterator[int]:
    """The growing file, locked. What was renamed while we waited is let go and the new one taken."""
    while True:
        handle = open_current(path) if how == fcntl.LOCK_EX else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, how)
            if is_at(handle, path):
                yield handle
                return
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough where the handle was doubled
            os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def read_seal(path: Path) -> Seal | None:
    """`None` when there is none, or it is not one."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    number, _, hashed = text.strip().partition(" ")
    return Seal(int(number), hashed) if number.isdigit() and len(hashed) == len(FIRST) else None


def write_seal(path: Path, seal: Seal) -> None:
    """One write of one length: whoever is killed leaves the old seal or the new one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _leave_to_owner(handle, path)
        os.pwrite(handle, f"{seal.seq:020d} {seal.digest}\n".encode(), 0)
        os.ftruncate(handle, SEAL_BYTES)
    finally:
        os.close(handle)


def last_line(handle: int, size: int) -> bytes:
    """The last whole line of a file of `size` bytes that ends with a newline; empty for an empty file."""
    begin, tail = size, b""
    while begin > 0 and b"\n" not in tail[:-1]:
        length = min(CHUNK if tail else 4096, begin)
        begin -= length
        tail = os.pread(handle, length, begin) + tail
    return tail.removesuffix(b"\n").rpartition(b"\n")[2]


def whole_bytes(handle: int, size: int) -> int:
    """How many bytes stand before the end of the last finished line."""
    begin = size
    while begin > 0:
        length = min(CHUNK, begin)
        begin -= length
        if (found := os.pread(handle, length, begin).rfind(b"\n")) >= 0:
            return begin + found + 1
    return 0


def lines(handle: int, size: int) -> Iterator[bytes]:
    """The finished lines of the first `size` bytes, from the first on, without their newlines."""
    rest, at = b"", 0
    while at < size and (chunk := os.pread(handle, min(CHUNK, size - at), at)):
        at += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def lines_backwards(handle: int, size: int) -> Iterator[bytes]:
    """The finished lines of the first `size` bytes, from the last on, without their newlines."""
    end, head = whole_bytes(handle, size), b""
    while end > 0:
        length = min(CHUNK, end)
        end -= length
        head, *whole = (os.pread(handle, length, end) + head).split(b"\n")
        yield from (line for line in reversed(whole) if line)
    if head:
        yield head
