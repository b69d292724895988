"""Cut a JSON array that arrives in pieces into its items: how Gemini streams without `alt=sse`."""

from __future__ import annotations

import re

MARK = re.compile(rb'["{}\[\]]')
IN_STRING = re.compile(rb'["\\]')
LIMIT = 16 * 2**20
"""Longest item, in bytes. A longer one passes unread."""


def payload(item: bytes) -> bytes:
    """An item without what stands between items; empty for the end of the array."""
    found = item.lstrip(b"[, \r\n\t")
    return b"" if found.rstrip() == b"]" else found


class Items:
    """Feed chunks, get the raw bytes of each item that they complete. Joined again they are the input."""

    def __init__(self) -> None:
        self._tail = b""
        self._at = self._depth = 0
        self._in_string = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The items that `chunk` completes."""
        data = self._tail + chunk
        items, start = [], 0
        while (found := (IN_STRING if self._in_string else MARK).search(data, self._at)) is not None:
            self._at = found.end()
            if self._step(found.group()):
                items.append(data[start : self._at])
                start = self._at
        self._at = max(self._at, len(data)) - start
        self._tail = data[start:]
        if len(self._tail) > LIMIT:
            self._at, self._tail = self._at - len(self._tail), b""
        return items

    def _step(self, mark: bytes) -> bool:
        """Go over a mark; whether it ends an item."""
        if mark == b"\\":
            self._at += 1
        elif mark == b'"':
            self._in_string = not self._in_string
        elif mark in b"{[":
            self._depth += 1
        else:
            self._depth -= 1
            return self._depth == 1
        return False

    def single(self, chunk: bytes, start: int = 0, end: int = 0) -> bytes | None:
        """Pieces of an array are no whole items: their commas come along."""
        return None

    def rest(self) -> bytes:
        """What is left over when the array ends."""
        tail, self._tail, self._at = self._tail, b"", 0
        return tail

    @property
    def held(self) -> int:
        """Bytes of an unfinished item."""
        return len(self._tail)

    @property
    def at_border(self) -> bool:
        """Whether nothing of an unfinished item is held."""
        return self._depth <= 1
