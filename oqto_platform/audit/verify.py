"""Is the chain whole? Every break is found, and named by the number of the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from oqto_platform.audit import files, places, record
from oqto_platform.audit.files import Seal
from oqto_platform.audit.places import Opened
from oqto_platform.audit.record import FIRST, AuditRecord

MOST = 100
TELLING = {
    "audit.unsealed": "the seal was missing when it was written; what stood before it may have been cut",
    "audit.broken": "the log did not end as it was sealed when it was written",
}


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One break: `seq` is the record it is about, `file` and `line` (from 1) where it shows."""

    seq: int
    file: str
    line: int
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`head` is the last record's hash: note it elsewhere, and nobody can change the past unseen."""

    records: int
    last: int
    head: str
    files: int
    findings: list[AuditFinding] = []
    notes: list[str] = []

    @property
    def is_whole(self) -> bool:
        return not self.findings


class _Walk:
    """What was seen so far."""

    def __init__(self, first: int) -> None:
        self.records = 0
        self.last = Seal(first - 1, FIRST if first == 1 else "")
        self.findings: list[AuditFinding] = []
        self.notes: list[str] = []

    def find(self, seq: int, where: tuple[str, int], what: str) -> None:
        if len(self.findings) < MOST:
            self.findings.append(AuditFinding(seq=seq, file=where[0], line=where[1], what=what))

    def take(self, line: bytes, where: tuple[str, int]) -> None:
        """Compare one line with the one before it."""
        found = record.read(line)
        if found is None:
            self.find(self.last.seq + 1, where, "this is not a record")
            self.last = Seal(self.last.seq + 1, record.digest(line))
            return
        seq = self._number(found, where)
        self._compare(found, seq, where)
        if found.event in TELLING:
            self.find(seq, where, f"record {seq} says: {TELLING[found.event]}")
        if found.event == "audit.repaired":
            self.notes.append(f"record {seq}: a line that was never finished was cut off")
        self.records += 1
        self.last = Seal(seq, record.digest(line))

    def _number(self, found: AuditRecord, where: tuple[str, int]) -> int:
        """Which record it is: where it hangs on the one before, whatever number it gives itself."""
        due = self.last.seq + 1
        if found.seq in (0, due) or not self.last.digest or found.prev != self.last.digest:
            return found.seq or due
        self.find(due, where, f"record {due} is not what was written: it says that it is record {found.seq}")
        return due

    def _compare(self, found: AuditRecord, seq: int, where: tuple[str, int]) -> None:
        due = self.last.seq + 1
        if seq > due:
            self.find(due, where, f"{_records(due, seq - 1)} missing")
        elif seq < due:
            self.find(seq, where, f"record {seq} stands after record {self.last.seq}: moved or doubled")
        elif self.last.digest and found.prev != self.last.digest:
            what = f"record {due - 1} is not what was written" if due > 1 else "the first record was changed"
            self.find(max(due - 1, 1), where, f"{what}: record {seq} carries another hash")

    def end(self, seal: Seal | None, where: tuple[str, int]) -> None:
        """Compare the end with the seal."""
        if seal is None:
            if self.records:
                self.find(
                    self.last.seq, where, "there is no seal: nobody can tell what is missing at the end"
                )
        elif self.last.seq < seal.seq:
            self.find(self.last.seq + 1, where, f"{_records(self.last.seq + 1, seal.seq)} missing at the end")
        elif self.last.seq == seal.seq and self.last.digest != seal.digest:
            self.find(
                seal.seq, where, f"record {seal.seq} is not what was written: the seal has another hash"
            )
        elif self.last.seq > seal.seq + 1:
            self.find(
                seal.seq + 1, where, f"{_records(seal.seq + 1, self.last.seq)} not sealed: added by hand?"
            )


def verify(path: Path, seal: Path, *, first: int = 1, is_sealed: bool = True) -> Report:
    """
    Walk the chain of `path` with its older files.

    `first`: older files were taken away on purpose, up to the record before it. `is_sealed=False`: a copy, of
    which only the chain can be looked at.
    """
    with places.snapshot(path, seal) as (opened, found):
        walk = _Walk(first)
        where = (str(path), 0)
        for line, where in _numbered(opened):
            walk.take(line, where)
        if is_sealed:
            walk.end(found, where)
        if torn := _torn(opened):
            walk.notes.append(f"the last line is not finished ({torn} bytes); the next record tells it")
    return Report(
        records=walk.records,
        last=walk.last.seq,
        head=walk.last.digest,
        files=len(opened),
        findings=walk.findings,
        notes=walk.notes,
    )


def _numbered(opened: list[Opened]) -> Iterator[tuple[bytes, tuple[str, int]]]:
    for file in opened:
        for number, line in enumerate(files.lines(file.handle, file.size), 1):
            yield line, (str(file.path), number)


def _torn(opened: list[Opened]) -> int:
    """Unfinished bytes at the end. Only the growing file may have some; in an older one they are a missing record."""
    last = opened[-1] if opened else None
    return last.size - files.whole_bytes(last.handle, last.size) if last else 0


def _records(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
