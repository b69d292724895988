"""Files of consecutive events. Line n of `events-<first>.jsonl` is event `first + n`: no index is needed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oqto_platform.errors import DiskFull

CHUNK = 256 * 1024
"""How much is read at once, in bytes; also the distance of the marks that make seeking short."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Gone(Exception):
    """The wanted events were dropped to keep the log within its limit."""


class AppendFile:
    """A file that grows by whole lines. `size` never counts a line that is not complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with as_disk_full(path):
            self.fd = os.open(path, flags, 0o600)
        self.size = os.fstat(self.fd).st_size

    def append(self, data: bytes) -> None:
        """Write `data` completely or leave the file as it was. Raises `DiskFull`."""
        try:
            written = os.write(self.fd, data)
            while written < len(data):
                written += os.write(self.fd, data[written:])
        except BaseException:  # Ctrl-C in mid-write, too: half a line would join with the next one
            os.ftruncate(self.fd, self.size)
            with as_disk_full(self.path):
                raise
        self.size += written

    def cut(self, size: int) -> None:
        """Forget everything after `size`."""
        os.ftruncate(self.fd, size)
        self.size = size

    def read(self, offset: int, end: int) -> bytes:
        """About `CHUNK` bytes of complete lines from `offset`; a longer line comes whole."""
        return _whole_lines(self.fd, offset, end)

    def close(self) -> None:
        os.close(self.fd)


@dataclass
class Segment:
    """One file of the log. `marks` are `(seq, offset)` pairs at line starts, in order."""

    first: int
    file: AppendFile | None
    path: Path
    size: int
    marks: list[tuple[int, int]] = field(default_factory=list)

    def read(self, offset: int) -> bytes:
        if self.file is not None:
            return self.file.read(offset, self.size)
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _whole_lines(fd, offset, self.size)
        finally:
            os.close(fd)

    def offset_of(self, seq: int) -> int:
        """Where the line of `seq` begins."""
        at, offset = max((mark for mark in self.marks if mark[0] <= seq), default=(self.first, 0))
        while at < seq:
            chunk = self.read(offset)
            lines = chunk.count(b"\n")
            if at + lines > seq:
                return offset + _skip_lines(chunk, seq - at)
            at, offset = at + lines, offset + len(chunk)
        return offset


@dataclass
class Cursor:
    """A reader's place: the first event of its segment and a byte offset at a line start."""

    first: int
    offset: int


class Segments:
    """All segments of a log, the last of which grows. Keeps within `total_bytes` by dropping the oldest."""

    def __init__(self, directory: Path, *, segment_bytes: int, total_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._total_bytes = total_bytes
        self._by_first: dict[int, Segment] = {}
        self.live: Segment

    @staticmethod
    def path(directory: Path, first: int) -> Path:
        return directory / f"events-{first:016d}.jsonl"

    @staticmethod
    def found(directory: Path) -> list[tuple[int, Path]]:
        """The segment files of a folder, oldest first."""
        paths = directory.glob("events-*.jsonl")
        return sorted((int(path.stem[7:]), path) for path in paths if path.stem[7:].isdigit())

    @property
    def oldest(self) -> int:
        return next(iter(self._by_first))

    @property
    def live_file(self) -> AppendFile:
        file = self.live.file
        assert file is not None
        return file

    def adopt(self, first: int, path: Path) -> None:
        """Take over a finished file of an earlier run."""
        adopted = Segment(first, None, path, path.stat().st_size, [(first, 0)])
        self.live = self._by_first[first] = adopted

    def begin(self, first: int) -> None:
        """Go on in `events-<first>.jsonl`, which may exist; the one before it is finished."""
        file = AppendFile(self.path(self._directory, first))
        self.close()
        self._by_first.pop(first, None)
        self.live = self._by_first[first] = Segment(first, file, file.path, file.size, [(first, 0)])

    def append(self, first_seq: int, data: bytes) -> None:
        """Write the lines of events that begin with `first_seq`."""
        live = self.live
        if live.size >= self._segment_bytes:
            self.begin(first_seq)
            self._drop_oldest()
            live = self.live
        if live.size - live.marks[-1][1] >= CHUNK:
            live.marks.append((first_seq, live.size))
        assert live.file is not None
        live.file.append(data)
        live.size = live.file.size

    def to_last(self, cursor: Cursor, size: int) -> None:
        """Move `cursor` to the last `size` bytes, which were appended at once."""
        live = self.live
        cursor.first, cursor.offset = live.first, live.size - size

    def undo(self, size: int) -> None:
        """Take back what was appended to the live segment beyond `size`."""
        self.live_file.cut(size)
        self.live.size = size

    def seek(self, seq: int) -> Cursor:
        """Where `seq` is or will be. Raises `Gone`."""
        first = max((first for first in self._by_first if first <= seq), default=None)
        if first is None:
            raise Gone
        return Cursor(first, self._by_first[first].offset_of(seq))

    def read(self, cursor: Cursor) -> bytes:
        """The next lines and a moved cursor; nothing at the end. Raises `Gone`."""
        while True:
            segment = self._by_first.get(cursor.first)
            if segment is None:
                raise Gone
            if cursor.offset < segment.size:
                chunk = segment.read(cursor.offset)
                cursor.offset += len(chunk)
                return chunk
            if segment is self.live:
                return b""
            cursor.first, cursor.offset = self._after(cursor.first), 0

    def lines(self, seq: int) -> Iterator[bytes]:
        """Every line from `seq` on, without its newline."""
        cursor = self.seek(seq)
        while chunk := self.read(cursor):
            yield from chunk[:-1].split(b"\n")

    def close(self) -> None:
        if self._by_first and self.live.file is not None:
            self.live.file.close()
            self.live.file = None

    def _after(self, first: int) -> int:
        return next(other for other in self._by_first if other > first)

    def _drop_oldest(self) -> None:
        total = sum(segment.size for segment in self._by_first.values())
        while total > self._total_bytes and len(self._by_first) > 1:
            dropped = self._by_first.pop(self.oldest)
            dropped.path.unlink(missing_ok=True)
            total -= dropped.size


class as_disk_full:  # noqa: N801 - reads as a word: `with as_disk_full(path)`
    """Turn the kernel's "no space" into `DiskFull`, with the file's folder in the sentence."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, OSError) and exc.errno in _FULL:
            raise DiskFull(
                f"the disk of {self._path.parent} is full ({exc.strerror}); free some space and go on"
            ) from exc


def _whole_lines(fd: int, offset: int, end: int) -> bytes:
    chunk = os.pread(fd, min(CHUNK, end - offset), offset)
    while (cut := chunk.rfind(b"\n") + 1) == 0 and (at := offset + len(chunk)) < end:
        chunk += os.pread(fd, min(max(CHUNK, len(chunk)), end - at), at)
    return chunk[:cut]


def _skip_lines(chunk: bytes, count: int) -> int:
    position = 0
    for _ in range(count):
        position = chunk.index(b"\n", position) + 1
    return position
