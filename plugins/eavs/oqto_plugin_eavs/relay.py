"""One reply on its way: from the provider through a meter to the client, never more than a little held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import jsonarray, refusals
from .meter import UNREADABLE
from .sse import Events, payload
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .meter import Meter
    from .refusals import Dialect
    from .server import Request
    from .upstream import Headers, Reply

QUIET_S = 15.0
ERROR = 400
"""The first status that is an error."""
WHOLE_LIMIT = 64 * 2**20
DROPPED = {
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"te",
    b"trailer",
    b"upgrade",
    b"proxy-authenticate",
    b"proxy-connection",
    b"content-length",
    b"set-cookie",
    b"alt-svc",
    b"strict-transport-security",
}
KEEP_ALIVE = b": keep-alive\n\n"


class OutOfMoney(Exception):
    """The reply outgrew what was set aside, and there is no more."""


def begun(
    reply: Reply, request_id: str, provider: str, *, may_be_array: bool
) -> tuple[Headers, type[Stream] | None]:
    """
    The provider's headers for the client, with our own, and how the reply streams.

    As server-sent events, as a JSON array where the path says that it `may_be_array`, or not: `None`.
    """
    kept: Headers = []
    kind: type[Stream] | None = None
    for pair in reply.headers:
        if pair[0] not in DROPPED:
            kept.append(pair)
        if pair[0] == b"content-type" and reply.status < ERROR:
            if pair[1].startswith(b"text/event-stream"):
                kind = Stream
            elif may_be_array and pair[1].startswith(b"application/json"):
                kind = ArrayStream
    kept.append((b"x-eavs-request-id", request_id.encode()))
    kept.append((b"x-eavs-provider", provider.encode()))
    return kept, kind


async def whole(reply: Reply) -> bytes:
    """A plain reply, complete."""
    parts, size = [], 0
    while (part := await reply.chunk()) is not None:
        parts.append(part)
        size += len(part)
        if size > WHOLE_LIMIT:
            raise UpstreamFailed("the provider's reply is too large", was_sent=True)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Stream:
    """
    Server-sent events on their way.

    `written` is asked when more bytes of text came than it answered before, and may raise `OutOfMoney`.
    """

    keep_alive = KEEP_ALIVE

    def __init__(
        self, reply: Reply, meter: Meter, request: Request, *, strips: bool, written: Callable[[], int]
    ) -> None:
        self._reply, self._meter, self._request = reply, meter, request
        self._strips, self._written = strips, written
        self._covered = 0
        self._chunked_way = request.chunked_way()
        self._events: Events | jsonarray.Items = Events()

    def payload(self, event: bytes) -> bytes:
        """What the meter reads of an event."""
        return payload(event)

    def failure(self, dialect: Dialect, sentence: str, request_id: str) -> bytes:
        """An error inside the reply, after which nothing comes."""
        border = b"" if self._events.at_border else b"\n\n"
        return border + refusals.event(dialect, sentence, request_id)

    async def run(self, dialect: Dialect, request_id: str) -> str:
        """Relay until the end; answers the outcome: `done` or `cut`."""
        try:
            await self._reply.pump(self.take, self._request, QUIET_S, self.take_chunk)
        except (UpstreamFailed, OutOfMoney) as exc:
            return self.broken(exc, dialect, request_id)
        return self.ended()

    def ended(self) -> str:
        """The reply has come to its end; answers the outcome."""
        self._request.put(self._read_rest())
        return "done"

    def broken(self, error: Exception, dialect: Dialect, request_id: str) -> str:
        """The reply broke off: tell the client in its own way; answers the outcome."""
        sentence = error.detail if isinstance(error, UpstreamFailed) else str(error)
        self._request.put(self.failure(dialect, sentence, request_id))
        return "cut"

    def take(self, data: bytes) -> None:
        """Pass on what came; nothing is a sign of life."""
        if not data:
            self._request.put(self.keep_alive if self._events.at_border else b"")
            return
        if (found := self._events.single(data)) is not None:
            self._pass_one(data, found)
        else:
            self._pass_many(data)

    def take_chunk(self, data: bytes, start: int) -> None:
        """`take` what stands in one chunk of the transfer, from `start` to the line end that closes the chunk."""
        end, meter = len(data) - 2, self._meter
        if (way := self._chunked_way) is None or (found := self._events.single(data, start, end)) is None:
            self.take(data[start:end])
            return
        try:
            is_shown = meter.read(found)
        except UNREADABLE:
            is_shown = meter.skip(found)
        if is_shown or not self._strips:
            way.send(data)  # for the client it is a chunk as well
        if meter.text_bytes > self._covered:
            self._covered = self._written()

    def _pass_one(self, data: bytes, found: bytes) -> None:
        if self._meter.event(found) or not self._strips:
            self._request.put(data)
        if self._meter.text_bytes > self._covered:
            self._covered = self._written()

    def _pass_many(self, data: bytes) -> None:
        read, payload = self._meter.event, self.payload
        shown: list[bytes] = []
        passed = -self._events.held
        try:
            for event in self._events.feed(data):
                if read(payload(event)):
                    shown.append(event)
                passed += len(event)
                if self._meter.text_bytes > self._covered:
                    self._covered = self._written()
        except OutOfMoney:
            data = data[: max(passed, 0)]
            raise
        finally:
            self._request.put(b"".join(shown) if self._strips else data)

    def _read_rest(self) -> bytes:
        rest = self._events.rest()
        is_shown = self._meter.event(self.payload(rest)) if rest else True
        return rest if self._strips and is_shown else b""


class ArrayStream(Stream):
    """A JSON array on its way, item by item."""

    keep_alive = b"\n"

    def __init__(
        self, reply: Reply, meter: Meter, request: Request, *, strips: bool, written: Callable[[], int]
    ) -> None:
        super().__init__(reply, meter, request, strips=False, written=written)
        self._events = jsonarray.Items()

    def payload(self, event: bytes) -> bytes:
        return jsonarray.payload(event)

    def failure(self, dialect: Dialect, sentence: str, request_id: str) -> bytes:
        error = refusals.body(dialect, 502, "upstream_error", sentence, request_id)
        return b"," + msgspec.json.encode(error) + b"]" if self._events.at_border else b""
