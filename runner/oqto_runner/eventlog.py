"""
The append-only log of a session: the one source of its events.

`events-*.jsonl` hold every event, rotated and capped; `history.jsonl` holds the durable ones for ever.
An event is encoded once and written with write(2) before any follower sees it, so it survives the death
of the runner; followers relay bytes from the files at their own pace and never hold the log up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import structlog

from oqto_platform import canon, clock
from oqto_platform.canon import PASSING, AgentIdle, Event, MessageEnd, ResyncRequired, SessionClosed
from oqto_platform.wire import Following
from oqto_runner.reopen import Reopened, history_lines, reopen
from oqto_runner.reserve import Reserve
from oqto_runner.segments import AppendFile, Gone, Segments
from oqto_runner.tracker import Progress, Tracker, seq_of

SEGMENT_BYTES = 8 * 2**20
TOTAL_BYTES = 256 * 2**20

_SYNCED = (MessageEnd, AgentIdle, SessionClosed)
log = structlog.get_logger("oqto.eventlog")


class EventLog:
    """One session's log. All methods belong to the event loop's thread."""

    def __init__(
        self,
        directory: Path,
        session_id: str,
        runner_id: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        total_bytes: int = TOTAL_BYTES,
    ) -> None:
        """Open or make the log in `directory`; a line torn by a crash is cut. Raises `DiskFull`."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ids = (session_id, runner_id)
        self._segments = Segments(directory, segment_bytes=segment_bytes, total_bytes=total_bytes)
        self.reserve = Reserve(directory)
        reopened = reopen(directory, self._segments)
        self._take(reopened)
        self._grew = asyncio.Event()
        self._sync: asyncio.Task[None] | None = None
        self._is_dirty = False
        self._is_open = True

    def _take(self, reopened: Reopened) -> None:
        self._history: AppendFile = reopened.history
        self._tracker: Tracker = reopened.tracker
        self.last: int = reopened.last

    @property
    def oldest(self) -> int:
        """The first event that is still there with all its passing neighbours."""
        return self._segments.oldest

    @property
    def is_turn_open(self) -> bool:
        """Whether the last turn began without an `agent.idle`."""
        return self._tracker.is_turn_open

    @property
    def is_closed(self) -> bool:
        """Whether nothing follows the last `session.closed` (or nothing was ever written)."""
        return self._tracker.is_closed

    def append(self, *events: Event) -> None:
        """Number, stamp, encode and write `events`, all or none. Raises `DiskFull`."""
        lines = [self._line(event, self.last + 1 + n) for n, event in enumerate(events)]
        durable = [line for event, line in zip(events, lines, strict=True) if _is_durable(event)]
        self._write(b"".join(lines), b"".join(durable))
        offset = self._history.size - sum(map(len, durable))
        for event, line in zip(events, lines, strict=True):
            self._tracker.note(event, line, offset)
            offset += len(line) if _is_durable(event) else 0
        self.last += len(events)
        if any(isinstance(event, _SYNCED) for event in events):
            self._sync_soon()
        self._wake()

    def _line(self, event: Event, seq: int) -> bytes:
        event.session_id, event.runner_id = self._ids
        event.seq, event.ts = seq, clock.now_ms()
        return canon.encode(event) + b"\n"

    def _write(self, lines: bytes, durable: bytes) -> None:
        self._segments.append(self.last + 1, lines)
        try:
            if durable:
                self._history.append(durable)
        except BaseException:
            self._segments.undo(self._segments.live.size - len(lines))
            raise

    async def follow(self, after: int) -> AsyncGenerator[Following | bytes, None]:
        """First `Following`, then chunks of whole lines, for ever; ends when the log is closed."""
        is_exact = 0 < after <= self.last and after + 1 >= self.oldest
        yield Following(
            mode="exact" if is_exact else "snapshot", last=self.last, reset=not is_exact and after > 0
        )
        begin = after if is_exact else None
        while self._is_open:
            try:
                async with contextlib.aclosing(self._from(begin)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except Gone:
                begin = None
                yield self._resync()

    async def _from(self, after: int | None) -> AsyncGenerator[bytes, None]:
        """A snapshot where `after` is `None`, then all that follows, as it comes. Raises `Gone`."""
        if after is None:
            snapshot = self._snapshot()
            for chunk in snapshot.chunks():
                yield chunk
                if not self._is_open:
                    return
            after = snapshot.boundary
        cursor = self._segments.seek(after + 1)
        while self._is_open:
            if chunk := self._segments.read(cursor):
                yield chunk
            else:
                await self._grew.wait()

    def _snapshot(self) -> _Snapshot:
        boundary, offset = self._tracker.boundary(self.last, self._history.size)
        if boundary + 1 < self.oldest:
            boundary, offset = self._oldest_boundary(offset)
        progress = [p for p in self._tracker.progress.values() if p.seq <= boundary]
        return _Snapshot(self._history, boundary, offset, sorted(progress, key=lambda p: p.seq))

    def _oldest_boundary(self, offset: int) -> tuple[int, int]:
        # A message so long that its own beginning was dropped: tell what is there.
        oldest = self.oldest
        for line in history_lines(self._history, offset):
            if seq_of(line) >= oldest:
                break
            offset += len(line) + 1
        return oldest - 1, offset

    def _resync(self) -> bytes:
        event = ResyncRequired(oldest=self.oldest, reason="this reader fell behind what the log keeps")
        event.session_id, event.runner_id = self._ids
        event.ts = clock.now_ms()
        return canon.encode(event) + b"\n"

    def client_ids(self, limit: int) -> list[str]:
        """The newest `limit` ids that clients gave their messages, oldest first."""
        found: list[str] = []
        for line in history_lines(self._history, 0, having=b'"client_id":"'):
            if line.startswith(b'{"event":"stream.message_end"'):
                event = canon.decode_event(line)
                if isinstance(event, MessageEnd) and event.message.role == "user" and event.message.client_id:
                    found.append(event.message.client_id)
        return found[-limit:]

    async def synced(self) -> None:
        """Return when everything appended so far has reached the disk."""
        while self._sync is not None and not self._sync.done():
            await asyncio.shield(self._sync)

    async def close(self) -> None:
        """Let followers go and give the files back."""
        await self.synced()
        if not self._is_open:
            return
        self._is_open = False
        self._wake()
        self._segments.close()
        self._history.close()
        self.reserve.release()

    def _wake(self) -> None:
        self._grew.set()
        self._grew = asyncio.Event()

    def _sync_soon(self) -> None:
        self._is_dirty = True
        if self._sync is None or self._sync.done():
            self._sync = asyncio.get_running_loop().create_task(self._sync_files())

    async def _sync_files(self) -> None:
        while self._is_dirty:
            self._is_dirty = False
            # Duplicates, because a rotation may close the live segment meanwhile.
            fds = [os.dup(self._segments.live_file.fd), os.dup(self._history.fd)]
            try:
                await asyncio.to_thread(_sync_and_close, fds)
            except OSError as exc:
                log.error("the log does not reach the disk", session=self._ids[0], reason=exc.strerror)


class _Snapshot:
    """Durable lines up to `offset`, with the latest output of running tools in its place."""

    def __init__(self, history: AppendFile, boundary: int, offset: int, progress: list[Progress]) -> None:
        self._history, self._offset, self._progress = history, offset, progress
        self.boundary = boundary

    def chunks(self) -> Iterator[bytes]:
        at = 0
        for progress in self._progress:
            yield from self._part(at, progress.history_offset)
            yield progress.line
            at = progress.history_offset
        yield from self._part(at, self._offset)

    def _part(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            chunk = self._history.read(start, end)
            start += len(chunk)
            yield chunk


def _is_durable(event: Event) -> bool:
    return canon.event_name(type(event)) not in PASSING


def _sync_and_close(fds: list[int]) -> None:
    try:
        for fd in fds:
            os.fdatasync(fd)
    finally:
        for fd in fds:
            os.close(fd)
