"""Cut an agent's output into lines at LF and nothing else: U+2028 and its kin may stand raw in JSON."""

from __future__ import annotations

from collections.abc import Callable

LINE_LIMIT = 64 * 2**20
"""Longest line of an agent, in bytes. A longer one is dropped and told."""


class LineSplitter:
    """Collects chunks; `too_long` is called once for each line over `limit`, which is dropped."""

    def __init__(self, too_long: Callable[[], None], *, limit: int = LINE_LIMIT) -> None:
        self._too_long = too_long
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._is_dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newline."""
        if not self._size and data.endswith(b"\n") and len(data) <= self._limit:
            return list(filter(None, data.split(b"\n")))  # as nearly always
        first, newline, rest = data.partition(b"\n")
        self._keep(first)
        if not newline:
            return []
        done = self._take()
        lines = rest.split(b"\n")
        self._keep(lines.pop())
        return [line for line in (done, *lines) if line]

    def rest(self) -> bytes:
        """What stands after the last newline, at the end of the output."""
        return self._take()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._limit:
            self._parts.append(part)
        elif not self._is_dropping:
            self._is_dropping = True
            self._parts.clear()
            self._too_long()

    def _take(self) -> bytes:
        line = b"".join(self._parts)
        self._parts.clear()
        self._size, self._is_dropping = 0, False
        return line
