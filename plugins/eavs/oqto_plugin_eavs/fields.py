"""
The values of a JSON object's own keys, found while it passes in pieces; some may be replaced on the way.

Only the structure is followed: strings are skipped by the C of `bytes` and `re`, and what lies deeper than
the first level is never looked at. Whether the whole is valid JSON is for its receiver to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from .refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
FLAT = rb'[^"{}\[\]]++|' + STRING
LEAF = rb"[\[{](?:" + FLAT + rb")*+[\]}]"
BRANCH = rb"[\[{](?:" + FLAT + rb"|" + LEAF + rb")*+[\]}]"
DEEP = re.compile(rb"(?:" + FLAT + rb"|" + LEAF + rb"|" + BRANCH + rb")*+", re.DOTALL)
"""Whole values inside a deeper level, up to the next bracket or a string that is not complete yet."""
REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
NEXT = re.compile(rb'["{}\[\],:]')
VALUE_LIMIT = 4_096
KEY_LIMIT = 256
MOST_STEPS = 200_000
"""Brackets and keys that are looked at one by one: far more than a conversation has, and about a second's work."""
QUOTE, BACKSLASH, OPENING, CLOSING = b'"', b"\\", b"{[", b"}]"


class Fields:
    """
    Follows one object. `values` has what was found of `wanted`, as JSON.

    `replace` gives another value for a key, or `None` to keep it; `tail` what to add before the object's end.
    """

    def __init__(
        self,
        wanted: Collection[str],
        *,
        replace: Callable[[str, bytes], bytes | None] = lambda *_: None,
        tail: Callable[[], bytes] = bytes,
    ) -> None:
        self._wanted, self._replace, self._tail = wanted, replace, tail
        self.values: dict[str, bytes] = {}
        self.is_closed = False
        self.steps = 0
        self._depth = 0
        self._in_string = self._is_escaped = self._expects_key = False
        self._key = ""
        self._hold: int | None = None
        """Where a key or a value begins that must pass, or be replaced, as a whole."""
        self._is_value = False
        self._kept = b""
        self._data, self._at, self._shown = b"", 0, 0
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """What may pass on of the object after this piece. Raises `Refused` (400)."""
        if self.steps > MOST_STEPS:
            raise Refused(400, "invalid_request", "The request has too many parts to be passed on unread.")
        self._data, self._at, self._shown, self._out = self._kept + data, 0, 0, []
        while self._at < len(self._data):
            if self._in_string:
                self._skip_string()
            elif self._depth > 1:
                self._skip_deep()
            else:
                self._step()
        self._keep()
        return b"".join(self._out)

    def _keep(self) -> None:
        """Keep what is not complete, to look at it again with the next piece."""
        start = len(self._data) if self._hold is None else self._hold
        self._kept = self._data[start:]
        self._out.append(self._data[self._shown : start])
        self._data = b""
        if self._hold is None:
            return
        if len(self._kept) > VALUE_LIMIT:
            raise Refused(400, "invalid_request", f"The value of {self._key!r} is too long.")
        self._hold, self._depth, self._in_string, self._is_escaped = 0, 1, False, False
        self._expects_key = not self._is_value

    def _skip_string(self) -> None:
        data, at = self._data, self._at + self._is_escaped
        self._is_escaped = False
        quote = data.find(QUOTE, at)
        if quote >= 0 and data.find(BACKSLASH, at, quote) >= 0:
            quote = _end_of_string(data, at)
        if quote >= 0:
            self._at, self._in_string = quote + 1, False
            return
        rest = data[at:]
        self._is_escaped = (len(rest) - len(rest.rstrip(BACKSLASH))) % 2 == 1
        self._at = len(data)

    def _skip_deep(self) -> None:
        self.steps += 1
        found = DEEP.match(self._data, self._at)
        assert found is not None  # it matches nothing at all too
        self._at = found.end()
        if self._at < len(self._data):
            self._bracket(self._data[self._at : self._at + 1])
            self._at += 1

    def _bracket(self, mark: bytes) -> None:
        if mark == QUOTE:
            self._in_string = True
        else:
            self._depth += 1 if mark in OPENING else -1

    def _step(self) -> None:
        self.steps += 1
        found = None if self.is_closed else NEXT.search(self._data, self._at)
        if found is None:
            self._at = len(self._data)
            return
        at, mark = found.start(), found.group()
        if self._depth == 0:
            self._open(at, mark)
        self._at = at + 1
        if mark == QUOTE and self._expects_key:
            self._read_key(at)
        elif mark in (QUOTE, b"{", b"["):
            self._bracket(mark)
        elif mark == b":":
            self._begin_value(at + 1)
        else:
            self._end_value(at)
            self._expects_key = mark == b","
            if mark in CLOSING:
                self._close(at)

    def _open(self, at: int, mark: bytes) -> None:
        if mark != b"{" or self._data[self._at : at].strip():
            raise Refused(400, "invalid_json", "The body is not a JSON object.")
        self._expects_key = True

    def _close(self, at: int) -> None:
        self._depth, self.is_closed = 0, True
        self._put(at, at, self._tail())

    def _put(self, start: int, end: int, data: bytes) -> None:
        self._out += (self._data[self._shown : start], data)
        self._shown = end

    def _read_key(self, at: int) -> None:
        end = _end_of_string(self._data, at + 1)
        if end < 0 and len(self._data) - at <= KEY_LIMIT:
            self._hold, self._is_value, self._at = at, False, len(self._data)
            return
        self._hold, self._expects_key, self._key = None, False, ""
        if end < 0:  # no key that anybody wants is that long
            self._in_string = True
            return
        self._key, self._at = _text(self._data[at : end + 1]), end + 1

    def _begin_value(self, at: int) -> None:
        if self._hold is None and self._key in self._wanted:
            self._hold, self._is_value = at, True

    def _end_value(self, at: int) -> None:
        if self._hold is None:
            return
        start, self._hold = self._hold, None
        value = self._data[start:at].strip()
        # Readers differ in which of two they take; the one that was paid for must be the one that counts.
        if self._key in self.values:
            raise Refused(400, "invalid_request", f"The request names {self._key!r} twice.")
        self.values[self._key] = value
        if (other := self._replace(self._key, value)) is not None:
            self._put(start, at, other)


def _end_of_string(data: bytes, at: int) -> int:
    """Where the quote is that ends a string; -1 when it has not come yet."""
    found = REST.match(data, at)
    assert found is not None
    return found.end() if data[found.end() : found.end() + 1] == QUOTE else -1


def _text(key: bytes) -> str:
    if BACKSLASH not in key:
        return key[1:-1].decode(errors="replace")
    try:
        return str(msgspec.json.decode(key))
    except msgspec.DecodeError:
        return ""
