"""The body of a request: read within limits. A long one is only looked into; the rest goes on as it arrives."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import msgspec

from .ask import ASKED, as_object
from .estimate import Prompt, prompt_tokens
from .fields import Fields
from .refusals import Refused
from .unpack import Unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .request import Request
    from .unpack import Source

PEEK = 2**20
"""Bodies up to here are read whole; of longer ones so much is read, and on to the model's name."""
TOGETHER = 256 * 2**20
PLAIN = (b"", b"identity")


class Bodies:
    """Reads bodies of at most `limit` bytes each; what is held of long ones of all calls stays under `together`."""

    def __init__(self, together: int = TOGETHER) -> None:
        self._together = together
        self.held = 0

    async def read(self, request: Request, limit: int, *, needs_model: bool = True) -> Body:
        """
        The body, or the beginning of a long one: with the model's name, if that `needs_model`.

        Raises `Refused` (413, 415, 400; 503 when too much is held already).
        """
        body = Body(self, limit)
        try:
            await body.fill(request, needs_model=needs_model)
        except BaseException:  # a client that leaves cancels us, and what we held must be free for others
            body.release()
            raise
        return body

    def take(self, size: int) -> None:
        """Count bytes of a long body in."""
        if self.held + size > self._together:
            text = "Too many large requests are under way."
            raise Refused(503, "too_many_large_requests", text, retry_after_s=2)
        self.held += size


class Whole(msgspec.Struct):
    """A body that is there already, in one piece and as it is."""

    data: bytes
    is_long: ClassVar = False
    is_touched: ClassVar = False

    async def whole(self) -> bytes:
        """All of it."""
        return self.data

    def release(self) -> None:
        """The bytes are no longer needed."""
        self.data = b""


class Body:
    """
    The bytes of one request, counted until `release`.

    `data` is the whole of a short one. A long one comes in pieces from `chunk`; `length` is what its client says.
    """

    def __init__(self, bodies: Bodies, limit: int) -> None:
        self._bodies, self._limit, self._counted, self._size = bodies, limit, 0, 0
        self._source: Source | None = None
        self._parts: deque[bytes] = deque()
        self.data = b""
        self.length: int | None = None
        self.is_touched = False
        """Whether a piece of a long body has been taken: it cannot be sent again then."""

    @cached_property
    def _fields(self) -> Fields:
        return Fields(ASKED)

    @cached_property
    def _prompt(self) -> Prompt:
        return Prompt()

    @property
    def is_long(self) -> bool:
        """Whether it comes in pieces."""
        return self._source is not None

    @property
    def asked(self) -> bytes:
        """JSON of what the proxy has to know: the whole body, or an object with what a long one began with."""
        return as_object(self._fields.values) if self.is_long else self.data

    @property
    def tokens(self) -> int:
        """An upper estimate of the prompt, as far as it has been read."""
        return self._prompt.tokens if self.is_long else prompt_tokens(self.data)

    async def fill(self, request: Request, *, needs_model: bool) -> None:
        """Read and unpack."""
        declared = int(request.headers.get(b"content-length", b"0"))
        if declared > self._limit:
            raise _too_large(self._limit)
        encoding = request.headers.get(b"content-encoding", b"").strip().lower()
        source = request if encoding in PLAIN else Unpacked(request, encoding)
        parts = self._parts
        while (part := await source.chunk()) is not None:
            parts.append(part)
            self._grow(len(part))
            if self._size > PEEK and self._has_enough(needs_model=needs_model):
                self._source = source
                self.length = declared if declared and source is request else None
                return
        self.data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()

    def _has_enough(self, *, needs_model: bool) -> bool:
        news = [self._parts[-1]] if self._counted else self._parts
        self._bodies.take(self._size - self._counted)
        self._counted = self._size
        for part in news:
            self._fields.feed(part)
            self._prompt.feed(part)
        return not needs_model or "model" in self._fields.values

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise _too_large(self._limit)

    async def chunk(self) -> bytes | None:
        """The next piece of a long body; `None` at its end. Raises `Refused` (413, 400)."""
        assert self._source is not None
        self.is_touched = True
        if self._parts:
            return self._parts.popleft()
        self.release()
        if (part := await self._source.chunk()) is not None:
            self._grow(len(part))
        return part

    async def whole(self) -> bytes:
        """All of it."""
        if self.is_long:
            self.data = b"".join([part async for part in self._rest()])
        return self.data

    async def _rest(self) -> AsyncIterator[bytes]:
        while (part := await self.chunk()) is not None:
            self._bodies.take(len(part))
            self._counted += len(part)
            yield part

    def release(self) -> None:
        """The bytes are no longer needed."""
        self._bodies.held -= self._counted
        self._counted, self.data = 0, b""
        self._parts.clear()


def _too_large(limit: int) -> Refused:
    return Refused(413, "request_too_large", f"The body is larger than {limit // 2**20} MiB.")
