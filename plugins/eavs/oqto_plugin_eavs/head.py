"""
The head of a request: what it says before its body.

A client sends nearly the same head with each call; only the body's length differs. So a head that was read once is
known by its bytes without that length, and with it what the proxy worked out from it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import unquote_to_bytes

from . import routing
from .keys import digest

Headers = dict[bytes, bytes]
END = b"\r\n\r\n"
LENGTHS = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
KNOWN_LIMIT = 1024
SIZE_LIMIT = 8 * 1024
FRAMING = (b"transfer-encoding", b"expect", b"upgrade", b"connection", b"content-encoding")
"""A request that names one of these has no business with known heads."""


class Head:
    """A request without its body. `headers` are lower-case, values of repeated ones joined by a comma."""

    def __init__(self, method: str, target: bytes, version: str, headers: Headers, *, keeps: bool) -> None:
        path, _, self.query = target.partition(b"?")
        self.path = (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")
        self.method, self.version, self.headers, self.keeps = method, version, headers, keeps
        self.plans: dict[str, Any] = {}
        """What `express` found out about calls with it, by model, as of `plans_at`."""
        self.plans_at: tuple[object, ...] = ()

    @cached_property
    def key_hash(self) -> bytes:
        """The hash of the key that came with it, or of nothing."""
        return digest(routing.secret_of(self.headers, self.query))


class Heads:
    """The heads that were read lately."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """Head and body of `data` when it is exactly one request with a known head."""
        found = _cut(data)
        head = self._known.get(found[0]) if found is not None else None
        return None if found is None or head is None else (head, data[found[1] :])

    def learn(self, data: bytes, head: Head) -> None:
        """Remember the head of `data`, if that is exactly one request framed by its length."""
        found = _cut(data)
        if found is None or head.version != "1.1" or not head.keeps or found[1] > SIZE_LIMIT:
            return
        if int(head.headers.get(b"content-length", b"-1")) != len(data) - found[1]:
            return
        if any(name in head.headers for name in FRAMING):
            return
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        # The length is not part of what is known.
        del head.headers[b"content-length"]
        self._known[found[0]] = head


def _cut(data: bytes) -> tuple[bytes, int] | None:
    """The head of `data` without the body's length, and where the body begins that ends with `data`."""
    end = data.find(END)
    for name in LENGTHS:
        if (at := data.find(name, 0, end)) >= 0:
            break
    else:
        return None
    at += len(name)
    stop = data.find(b"\r\n", at)
    digits = data[at:stop]
    if not digits.isdigit() or len(digits) > len("999999999") or int(digits) != len(data) - end - len(END):
        return None
    return data[:at] + data[stop:end], end + len(END)
