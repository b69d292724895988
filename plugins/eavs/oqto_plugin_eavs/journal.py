"""
The ledger's journal: rows are durable here first, and reach SQLite a moment later.

Two files of a fixed size are written in turn. Overwriting blocks that exist needs no change of the file
system's own records, so making a batch durable takes one write to the disk, and not two with a wait between.
Lines are batches of rows; a zero byte ends the file's valid part.
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
        self._unapplied = [0, 0]
        self._turn = self._at = 0

    def recover(self) -> Batch:
        """What the files hold; may be in the ledger already. A line that a power cut left half is not."""
        found = Batch()
        for path in self._paths:
            data = path.read_bytes() if path.exists() else b""
            for line in data.partition(b"\0")[0].splitlines():
                _add(found, line)
        return found

    def append(self, batch: Batch) -> int:
        """Write a batch; durable on return. Answers the number of the file, for `applied`. Raises `OSError`."""
        self._open()
        if self._at > SIZE // 2 and not self._unapplied[1 - self._turn]:
            self._turn, self._at = 1 - self._turn, 0
        line = encode(batch) + b"\n"
        _write(self._files[self._turn], line + b"\0", self._at)
        self._at += len(line)
        self._unapplied[self._turn] += 1
        return self._turn

    def applied(self, number: int) -> None:
        """A batch of this file has reached the ledger."""
        self._unapplied[number] -= 1

    def _open(self) -> None:
        while len(self._files) < len(self._paths):
            path = self._paths[len(self._files)]
            path.touch(mode=0o600)
            path.write_bytes(bytes(SIZE))
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (os.O_DSYNC if self._is_durable else 0))
            self._files.append(file)
            if self._is_durable:
                os.fsync(file)

    def close(self) -> None:
        """Close the files; they go when all they hold is in the ledger."""
        for file in self._files:
            os.close(file)
        if not any(self._unapplied):
            for path in self._paths:
                path.unlink(missing_ok=True)


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
