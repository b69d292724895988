"""
Bring the files of a log back into a consistent state after any kind of end.

A crash of the runner can leave a torn last line and a durable copy that lacks what the segments have. A
power cut can also leave segments that lack what the durable copy has; they are dropped then, because a
reader must never see a hole.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from oqto_platform import canon
from oqto_runner.segments import AppendFile, Segments
from oqto_runner.tracker import Tracker, is_durable, seq_of

_TURN_ENDS = (b'\n{"event":"agent.idle"', b'\n{"event":"session.closed"')


@dataclass
class Reopened:
    """What a log knows about itself after opening."""

    history: AppendFile
    tracker: Tracker
    last: int


def reopen(directory: Path, segments: Segments) -> Reopened:
    """Repair the files in `directory` and fill `segments`. Raises `DiskFull`."""
    history = AppendFile(directory / "history.jsonl")
    told = _cut_torn_end(history)
    last = _adopt(directory, segments, told)
    _complete_history(history, segments, told, last)
    return Reopened(history, _rebuilt_tracker(history, segments, last), last)


def history_lines(history: AppendFile, start: int, having: bytes = b"") -> Iterator[bytes]:
    """The lines of the durable copy that contain `having`, from a line start on, without their newlines."""
    while start < history.size:
        chunk = history.read(start, history.size)
        start += len(chunk)
        if having in chunk:
            yield from (line for line in chunk[:-1].split(b"\n") if having in line)


def _adopt(directory: Path, segments: Segments, told: int) -> int:
    found = Segments.found(directory)
    last = 0
    if found:
        newest = AppendFile(found[-1][1])
        last = _cut_torn_end(newest) or found[-1][0] - 1
        is_whole = last - found[-1][0] + 1 == _count_lines(newest)
        newest.close()
        if last < told or not is_whole:
            _remove(found)
            found, last = [], max(last, told)
    last = max(last, told)
    for first, path in found[:-1]:
        segments.adopt(first, path)
    segments.begin(found[-1][0] if found else last + 1)
    return last


def _remove(found: list[tuple[int, Path]]) -> None:
    for _, path in found:
        path.unlink()


def _complete_history(history: AppendFile, segments: Segments, told: int, last: int) -> None:
    if told >= last:
        return
    lines = segments.lines(max(told + 1, segments.oldest))
    missing = b"".join(line + b"\n" for line in lines if is_durable(line))
    if missing:
        history.append(missing)


def _rebuilt_tracker(history: AppendFile, segments: Segments, last: int) -> Tracker:
    tracker = Tracker()
    offset = _last_turn_end(history)
    begin = next(map(seq_of, history_lines(history, offset)), 1) if offset else 1
    for line in history_lines(history, offset):
        if seq_of(line) >= segments.oldest:
            break
        tracker.note_line(line, offset)
        offset += len(line) + 1
    if last >= (begin := max(begin, segments.oldest)):
        for line in segments.lines(begin):
            tracker.note_line(line, offset)
            offset += len(line) + 1 if is_durable(line) else 0
    return tracker


def _last_turn_end(history: AppendFile) -> int:
    if history.size == 0:
        return 0
    with mmap.mmap(history.fd, history.size, prot=mmap.PROT_READ) as data:
        found = -1
        for mark in _TURN_ENDS:
            found = max(found, data.rfind(mark, max(found, 0)))
        return found + 1


def _cut_torn_end(file: AppendFile) -> int:
    """Cut what is not a complete event off the end; the number of the last one, 0 when none is left."""
    while file.size:
        with mmap.mmap(file.fd, file.size, prot=mmap.PROT_READ) as data:
            end = data.rfind(b"\n") + 1
            start = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
            line = data[start:end]
        if end and (seq := _valid_seq(line)):
            file.cut(end)
            return seq
        file.cut(start if end else 0)
    return 0


def _valid_seq(line: bytes) -> int:
    try:
        return int(canon.decode_event(line).seq)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0


def _count_lines(file: AppendFile) -> int:
    count = offset = 0
    while chunk := os.pread(file.fd, 2**20, offset):
        count += chunk.count(b"\n")
        offset += len(chunk)
    return count
