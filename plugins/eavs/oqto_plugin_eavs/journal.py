"""
The ledger's journal: rows are durable here first, and reach SQLite a moment later.

Two files of a fixed size are written in turn. Overwriting blocks that exist needs no change of the file
system's own records, so making a batch durable takes one write to the disk, and not two with a wait between.
Lines are batches of rows; a zero byte ends the file's valid part. What was appended survives this process;
what was synced survives a power cut.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 1 << 20
Row = tuple[Any, ...]


class Batch(msgspec.Struct, array_like=True):
    """Calls that were opened and calls that were closed."""

    opens: list[Row] = []
    closes: list[Row] = []


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Batch).decode


class Journal:
    """The two files beside the ledger `NAME.db`: `NAME.journal-0` and `-1`."""

    def __init__(self, ledger: Path, *, is_durable: bool) -> None:
        self._paths = [ledger.with_suffix(f".journal-{number}") for number in (0, 1)]
        self._is_durable = is_durable
        self._files: list[int] = []
        self._turn = self._at = 0
        # Two threads count, each in lists of its own.
        self._appended, self._applied = [0, 0], [0, 0]
        self._unsynced: set[int] = set()

    def recover(self) -> Batch:
        """What the files hold; may be in the ledger already. A line that a power cut left half is not."""
        found = Batch()
        for path in self._paths:
            data = path.read_bytes() if path.exists() else b""
            for line in data.partition(b"\0")[0].splitlines():
                _add(found, line)
        return found

    def append(self, batch: Batch) -> int:
        """Write a batch. Answers the number of the file, for `applied`. Raises `OSError`."""
        self._open()
        other = 1 - self._turn
        if self._at > SIZE // 2 and self._appended[other] == self._applied[other]:
            self._turn, self._at = other, 0
        line = encode(batch) + b"\n"
        _write(self._files[self._turn], line + b"\0", self._at)
        self._at += len(line)
        self._appended[self._turn] += 1
        self._unsynced.add(self._turn)
        return self._turn

    def unsynced(self) -> list[int]:
        """The files that were written since this was asked, for `sync`."""
        files = [self._files[number] for number in self._unsynced] if self._is_durable else []
        self._unsynced.clear()
        return files

    def applied(self, number: int) -> None:
        """A batch of this file has reached the ledger."""
        self._applied[number] += 1

    def _open(self) -> None:
        while len(self._files) < len(self._paths):
            path = self._paths[len(self._files)]
            path.touch(mode=0o600)
            path.write_bytes(bytes(SIZE))
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            self._files.append(file)
            if self._is_durable:
                os.fsync(file)

    def close(self) -> None:
        """Close the files; they go when all they hold is in the ledger."""
        for file in self._files:
            os.close(file)
        if self._appended == self._applied:
            for path in self._paths:
                path.unlink(missing_ok=True)


def sync(files: list[int]) -> None:
    """Make what was written to `files` durable. Raises `OSError`."""
    for file in files:
        os.fdatasync(file)


def _write(file: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written


def _add(found: Batch, line: bytes) -> None:
    try:
        batch = decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    found.opens += batch.opens
    found.closes += batch.closes
