"""
Where the log is and was: `audit_file` may change, and the chain goes on from one place to the next.

`<seal>.places` holds a path a line, the newest last; those below the seal's folder are relative to it, so that a copy of
the folder means itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from oqto_platform.audit import files, record
from oqto_platform.audit.files import older


def all_of(seal: Path) -> list[Path]:
    """Every place so far, the newest last."""
    try:
        lines = _file(seal).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [seal.parent / line for line in lines if line]


def remember(seal: Path, path: Path) -> None:
    """From now on the log is at `path`."""
    known = [place for place in all_of(seal) if place != path]
    folder = seal.parent.absolute()
    lines = [
        str(p.relative_to(folder)) if p.is_relative_to(folder) else str(p) for p in (*known, path.absolute())
    ]
    temporary = _file(seal).with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        if os.geteuid() == 0:  # `sudo oqtoctl` may be the first; the server must be able to go on
            status = seal.parent.stat()
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
    temporary.replace(_file(seal))


def closed(path: Path, seal: Path) -> list[Path]:
    """Every file besides the growing one at `path`, in the order of the records."""
    others = [place for place in all_of(seal) if place != path]
    found = [file for place in others for file in (*older(place), place) if file.is_file()]
    if not found:
        return older(path)
    return sorted([*found, *older(path)], key=_first_number)


def may_go_on_at(path: Path, seal: Path) -> bool:
    """Whether `path` is empty, is where the sealed record is, or was left by this chain before."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        line = files.last_line(handle, files.whole_bytes(handle, size))
    finally:
        os.close(handle)
    if size == 0 or path in all_of(seal):
        return True
    sealed = files.read_seal(seal)
    return sealed is not None and record.digest(line) == sealed.digest


def _file(seal: Path) -> Path:
    return seal.with_suffix(".places")


def _first_number(file: Path) -> int:
    with file.open("rb") as lines:
        first = record.read(lines.readline().removesuffix(b"\n"))
    return first.seq if first is not None else 0


class Opened(msgspec.Struct, frozen=True):
    """A file as it was in one moment; what was appended later is behind `size`."""

    path: Path
    handle: int
    size: int


@contextmanager
def snapshot(path: Path, seal: Path) -> Iterator[tuple[list[Opened], files.Seal | None]]:
    """The files, oldest first, and the seal of the same moment. Only the opening is locked: writers need not wait."""
    opened: list[Opened] = []
    try:
        try:
            with files.locked(path, fcntl.LOCK_SH) as current:
                opened += [
                    _opened(file, os.open(file, os.O_RDONLY | os.O_CLOEXEC)) for file in closed(path, seal)
                ]
                opened.append(_opened(path, os.dup(current)))
                found = files.read_seal(seal)
        except FileNotFoundError:  # nothing was written since the last file was full, or ever
            opened += [
                _opened(file, os.open(file, os.O_RDONLY | os.O_CLOEXEC)) for file in closed(path, seal)
            ]
            found = files.read_seal(seal)
        yield opened, found
    finally:
        for file in opened:
            os.close(file.handle)


def _opened(path: Path, handle: int) -> Opened:
    return Opened(path, handle, os.fstat(handle).st_size)
