"""One connection to a provider, on httptools, and the reply that arrives on it."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import httptools

from .reply import Listener, Reader, Sending, Timeouts, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .reply import ChunkSink, Headers, Sink


CHUNK = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,6})\r\n").match
"""How a chunk begins, unless with extensions, needless zeros or as the last one."""
HIGH_WATER = 256 * 1024
HEAD_LIMIT = 256 * 1024
IDLE_S = 60.0
FINAL = 200
"""The first status that is no interim one."""
NO_TIMEOUTS = Timeouts()


class Connection(asyncio.Protocol):
    """One connection and the reply on it."""

    def __init__(self, give_back: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self._give_back, self._lost = give_back, lost
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.is_reused = False
        self.is_idle = False
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._deadline = self._quiet_s = self._silence_s = 0.0
        self._heard_at = self._told_at = self._loop.time()
        self._sink: Sink | None = None
        self._chunk_sink: ChunkSink | None = None
        self._is_behind_chunk = self._is_at_border = False
        self._head: asyncio.Future[None] | None = None
        self._listener: Listener | None = None
        self._timeouts = NO_TIMEOUTS
        self._chunks: list[bytes] = []
        self._size = self._head_size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._has_room: asyncio.Future[None] | None = None
        self.is_done = False
        self._has_excess = self._is_kept = self._is_paused = self._is_answered = self._is_cut_short = False

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._lost(self)
        if not self.is_idle and not self.is_done:
            if exc is None and self.status >= FINAL and not self._has_length():
                self.is_done = True  # a reply without a length ends with its connection
                self._wake()
                if self._listener is not None:
                    self._listener.heard()
            else:
                self.fail(UpstreamFailed("the provider closed the connection in the middle", was_sent=True))

    def pause_writing(self) -> None:
        self._has_room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._has_room is not None and not self._has_room.done():
            self._has_room.set_result(None)
        self._has_room = None

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if (
            self._chunk_sink is not None
            and self._is_at_border
            and (begin := CHUNK(data)) is not None
            and int(begin[1], 16) == len(data) - begin.end() - 2
            and data.endswith(b"\r\n")
        ):
            # The parser need not know: it is between two chunks before and after.
            self._heard_at = self._loop.time()
            try:
                self._chunk_sink(data, begin.end())
            except Exception as exc:  # noqa: BLE001 raised where the reply is awaited
                self.fail(exc)
            return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        if self.is_idle:
            self.abort()
            return
        self._is_answered = True
        self._heard_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._failed_to_parse(exc)
        # A line end behind a chunk is its last one: another would have ended the next chunk's first line.
        self._is_at_border = self._is_behind_chunk and data.endswith(b"\r\n") and not self.is_done
        if self._sink is not None:
            if self._chunks:
                self._deliver(self._sink)
        elif self.status < FINAL:
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT:
                self._failed_to_parse(ValueError("headers are too long"))
        listener = self._listener
        if listener is not None and self.status >= FINAL and (self.is_done or self._sink is None):
            listener.heard()

    def _failed_to_parse(self, exc: Exception) -> None:
        if self.is_done:
            self._has_excess = True
            return
        self.fail(UpstreamFailed(f"the provider does not speak HTTP: {exc}", was_sent=True))
        self.abort()

    def _has_length(self) -> bool:
        return any(
            name == b"content-length" or (name == b"transfer-encoding" and value.lower() == b"chunked")
            for name, value in self.headers
        )

    # What the parser tells.

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # trailers of a final reply are nobody's headers
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_message_begin(self) -> None:
        if self.is_done:
            self._has_excess = True  # a second reply that nobody asked for: the first one counts

    def on_headers_complete(self) -> None:
        if self.is_done:
            return
        self.status = self._parser.get_status_code()
        if self.status < FINAL:
            self.headers, self.status = [], 0
            return
        self._silence_s, self._deadline = self._timeouts.silence_s, self._loop.time() + self._timeouts.total_s
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_body(self, data: bytes) -> None:
        if self.is_done:
            return
        self._chunks.append(data)
        if self._sink is not None:
            return  # delivered when this read is parsed
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._hold(is_full=True)
        if self._waiter is not None:
            self._wake()

    def on_chunk_header(self) -> None:
        self._is_behind_chunk = False

    def on_chunk_complete(self) -> None:
        self._is_behind_chunk = True

    def on_message_complete(self) -> None:
        if self.is_done or self.status == 0:  # an interim reply
            return
        self.is_done, self._is_kept = True, self._parser.should_keep_alive()
        if self._waiter is not None:
            self._wake()

    # What the relay does.

    @property
    def may_be_stale(self) -> bool:
        """Whether a failure may only mean that the peer had closed this kept connection."""
        return self.is_reused and not self._is_answered

    async def exchange(self, head: bytes, body: bytes, timeouts: Timeouts) -> None:
        """Send a request and wait for the head of the reply."""
        self._head = self._loop.create_future()
        self.send(head, body, timeouts)
        try:
            await self._head
        except BaseException:  # by cancelling, too: a connection in mid-exchange serves nobody else
            self.abort()
            raise

    def send(self, head: bytes, body: bytes, timeouts: Timeouts, listener: Listener | None = None) -> None:
        """Send a request; `listener` is told of the reply."""
        assert self.transport is not None
        self._listener, self.is_idle = listener, False
        self._timeouts, self._deadline = timeouts, self._loop.time() + timeouts.first_byte_s
        if len(body) < HIGH_WATER:
            self.transport.write(head + body)
        else:
            self.transport.writelines([head, body])

    async def upload(self, head: bytes, body: Sending, timeouts: Timeouts) -> None:
        """
        Send a request piece by piece, as fast as the provider reads, and wait for the head of the reply.

        An answer that comes early ends the sending, and with it the use of this connection.
        """
        assert self.transport is not None
        self.is_idle = False
        self._head, self._timeouts = self._loop.create_future(), timeouts
        self.transport.write(head)
        sending = self._loop.create_task(self._send(body, timeouts))
        try:
            await asyncio.wait((sending, self._head), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            else:
                self._is_cut_short = True
            await self._head
        except BaseException:  # by cancelling, too: a connection in mid-exchange serves nobody else
            self.abort()
            raise
        finally:
            sending.cancel()

    async def _send(self, body: Sending, timeouts: Timeouts) -> None:
        while True:
            if self.status < FINAL:
                self._deadline = self._loop.time() + timeouts.first_byte_s
            data = await body.chunk()
            if self.transport is None:
                return
            if data is None or body.length is not None:
                self.transport.write(data or (b"" if body.length is not None else b"0\r\n\r\n"))
            elif data:
                self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            if data is None:
                return
            if self._has_room is not None:
                await self._has_room

    async def chunk(self) -> bytes | None:
        while not self._chunks:
            if self.is_done:
                return None
            if self._error is not None:
                raise self._error
            await self._arrival()
        return self.take()

    async def pump(
        self, sink: Sink, reader: Reader, quiet_s: float, chunk_sink: ChunkSink | None = None
    ) -> None:
        self.pour(sink, reader, quiet_s, chunk_sink)
        try:
            while not self.is_done and self._error is None:
                await self._arrival()
            self._deliver(sink)
        finally:
            self._sink = self._chunk_sink = reader.on_full = None
        if self._error is not None:
            raise self._error

    def pour(self, sink: Sink, reader: Reader, quiet_s: float, chunk_sink: ChunkSink | None = None) -> None:
        """Begin to `pump`: from now on the sinks get each piece."""
        self._sink, self._quiet_s, reader.on_full = sink, quiet_s, self._hold
        self._chunk_sink = chunk_sink
        self._deliver(sink)

    def _deliver(self, sink: Sink) -> None:
        if not self._chunks or self._error is not None:
            return
        try:
            sink(self.take())
        except Exception as exc:  # noqa: BLE001 raised where the reply is awaited
            self.fail(exc)

    async def _arrival(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """What has come since it was asked for last."""
        data = self._chunks.pop() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._is_paused:
            self._hold(is_full=False)
        return data

    def _hold(self, is_full: bool) -> None:  # noqa: FBT001 a callback
        if self.transport is None or is_full is self._is_paused:
            return
        self._is_paused = is_full
        if is_full:
            self.transport.pause_reading()
        else:
            self._heard_at = self._loop.time()
            self.transport.resume_reading()

    def close(self) -> None:
        if (
            self.is_done
            and self._is_kept
            and not (self._is_cut_short or self._has_excess or self._chunks)
            and self.transport is not None
            and not self.transport.is_closing()
        ):
            self._begin()
            self.is_idle = self.is_reused = True
            self._give_back(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection: the provider stops generating."""
        if self.transport is not None:
            self.transport.abort()

    def fail(self, error: Exception) -> None:
        """Tell whoever waits that this exchange is over."""
        self._error, self._chunk_sink = error, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.failed(error)
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def sweep(self, now: float) -> None:
        """Look at the clock: end what takes too long, wake who waits for a sign of life."""
        if self.is_idle:
            if now - self._heard_at > IDLE_S:
                self.abort()
        elif self.is_done or self._error is not None:
            return
        elif self._deadline and now >= self._deadline:
            self._expire(
                "did not finish in time" if self.status >= FINAL else "did not begin to answer in time"
            )
        elif self._silence_s and not self._is_paused and now - self._heard_at > self._silence_s:
            self._expire(f"said nothing for {self._silence_s:g} s")
        elif self._sink is not None and now - max(self._heard_at, self._told_at) >= self._quiet_s:
            self._told_at = now
            self._sink(b"")

    def _expire(self, what: str) -> None:
        self.fail(UpstreamFailed(f"the provider {what}", was_sent=True, is_timeout=True))
        self.abort()
