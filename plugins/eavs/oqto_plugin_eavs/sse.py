"""Cut a byte stream into server-sent events, wherever the network cut it before."""

from __future__ import annotations

import re
import sys

BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
LINE = re.compile(rb"\r\n|\n|\r")
ONE_LINE = re.compile(rb"(?:event: .*\n)?data: (.*)\n\n").fullmatch
"""One event, its data in one line, as long as no carriage return ends a line in it."""
LIMIT = 16 * 2**20
"""Longest event, in bytes. A longer one passes unread."""


class Events:
    """Feed chunks, get whole events as raw bytes, terminator included. Joined again they are the input."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes."""
        data = self._tail + chunk if self._tail else chunk
        events = _plain(data) if b"\r" not in data else _any(data)
        self._tail = events.pop()
        if len(self._tail) > LIMIT:
            events.append(self.rest())
        return events

    def single(self, chunk: bytes, start: int = 0, end: int = sys.maxsize) -> bytes | None:
        """The data of `chunk[start:end]` where that is one whole event of one line, as providers mostly send."""
        if self._tail or (match := ONE_LINE(chunk, start, end)) is None or chunk.find(b"\r", start, end) >= 0:
            return None
        return match[1]

    def rest(self) -> bytes:
        """What is left over when the stream ends."""
        tail, self._tail = self._tail, b""
        return tail

    @property
    def held(self) -> int:
        """Bytes of an unfinished event."""
        return len(self._tail)

    @property
    def at_border(self) -> bool:
        """Whether nothing of an unfinished event is held."""
        return not self._tail


def _plain(data: bytes) -> list[bytes]:
    parts = data.split(b"\n\n")
    return [*(part + b"\n\n" for part in parts[:-1]), parts[-1]]


def _any(data: bytes) -> list[bytes]:
    events, at = [], 0
    for match in BLANK_LINE.finditer(data):
        events.append(data[at : match.end()])
        at = match.end()
    return [*events, data[at:]]


def payload(event: bytes) -> bytes:
    """The joined `data` of an event; empty for comments and events without data."""
    if b"\r" not in event and (match := ONE_LINE(event)) is not None:
        return match[1]
    found = [_value(line) for line in LINE.split(event) if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(found)


def _value(line: bytes) -> bytes:
    value = line[5:]
    return value[1:] if value.startswith(b" ") else value
