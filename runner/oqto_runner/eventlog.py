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
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from oqto_platform import canon, clock
from oqto_platform.canon import PASSING_KINDS, AgentIdle, Event, MessageEnd, ResyncRequired, SessionClosed
from oqto_platform.wire import Following
from oqto_runner.reopen import Reopened, history_lines, reopen
from oqto_runner.reserve import Reserve
from oqto_runner.segments import AppendFile, Cursor, Gone, Segments
from oqto_runner.tracker import Progress, Tracker, seq_of

SEGMENT_BYTES = 8 * 2**20
TOTAL_BYTES = 256 * 2**20

Push = Callable[[bytes], bool]
"""Takes whole lines at once, or refuses them all: then they are read from the log, at the reader's pace."""

_SYNCED = (MessageEnd, AgentIdle, SessionClosed)
log = structlog.get_logger("oqto.eventlog")


def never(lines: bytes) -> bool:
    """The `Push` of a follower that reads everything at its own pace."""
    return False


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
        self._listeners: list[_Listener] = []
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
        lines = self._encoded(events)
        text = b"".join(lines)
        offset = self._history.size
        self._segments.append(self.last + 1, text)
        self._keep(events, lines, len(text))
        self.last += len(events)
        self._track(events, lines, offset)
        if self._listeners:
            self._tell(text)

    def _track(self, events: tuple[Event, ...], lines: list[bytes], offset: int) -> None:
        for event, line in zip(events, lines, strict=True):
            self._tracker.note(event, line, offset)
            if type(event) not in PASSING_KINDS:
                offset += len(line)
                self._sync_after(event)

    def _sync_after(self, event: Event) -> None:
        if isinstance(event, _SYNCED):
            self._is_dirty = True
            if self._sync is None or self._sync.done():
                self._sync = asyncio.get_running_loop().create_task(self._sync_files())

    def _encoded(self, events: tuple[Event, ...]) -> list[bytes]:
        lines, now_ms = [], clock.now_ms()
        for seq, event in enumerate(events, self.last + 1):
            event.session_id, event.runner_id = self._ids
            event.seq, event.ts = seq, now_ms
            lines.append(canon.encode(event) + b"\n")
        return lines

    def _keep(self, events: tuple[Event, ...], lines: list[bytes], size: int) -> None:
        """The durable ones of what was just written, `size` bytes, to the history."""
        durable = [
            line for event, line in zip(events, lines, strict=True) if type(event) not in PASSING_KINDS
        ]
        try:
            if durable:
                self._history.append(b"".join(durable))
        except BaseException:  # whatever it was: both files have the events, or neither
            self._segments.undo(self._segments.live.size - size)
            raise

    async def follow(self, after: int, live: Push = never) -> AsyncGenerator[Following | bytes, None]:
        """
        First `Following`, then chunks of whole lines, for ever; ends when the log is closed.

        At the end of the log new lines go to `live` at once; the generator only goes on when that refuses.
        """
        is_exact = 0 < after <= self.last and after + 1 >= self.oldest
        yield Following(
            mode="exact" if is_exact else "snapshot", last=self.last, reset=not is_exact and after > 0
        )
        begin = after if is_exact else None
        while self._is_open:
            try:
                async with contextlib.aclosing(self._from(begin, live)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except Gone:
                begin = None
                yield self._resync()

    async def _from(self, after: int | None, live: Push) -> AsyncGenerator[bytes, None]:
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
                await self._attend(cursor, live)

    async def _attend(self, cursor: Cursor, live: Push) -> None:
        """Pass what is appended on to `live` until it refuses, which moves `cursor`, or the log is closed."""
        listener = _Listener(cursor, live, asyncio.get_running_loop().create_future())
        self._listeners.append(listener)
        try:
            await listener.left
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _tell(self, text: bytes) -> None:
        for listener in self._listeners[:]:
            try:
                took = listener.live(text)
            except Exception:  # noqa: BLE001 - a broken follower fails in its own task; the log and the others go on
                took = False
            if not took:
                self._segments.to_last(listener.cursor, len(text))
                self._leave(listener)

    def _leave(self, listener: _Listener) -> None:
        self._listeners.remove(listener)
        if not listener.left.done():
            listener.left.set_result(None)

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
        for listener in self._listeners[:]:
            self._leave(listener)
        self._segments.close()
        self._history.close()
        self.reserve.release()

    async def _sync_files(self) -> None:
        while self._is_dirty:
            self._is_dirty = False
            # Duplicates, because a rotation may close the live segment meanwhile.
            fds = [os.dup(self._segments.live_file.fd), os.dup(self._history.fd)]
            try:
                await asyncio.to_thread(_sync_and_close, fds)
            except OSError as exc:
                log.error("the log does not reach the disk", session=self._ids[0], reason=exc.strerror)


@dataclass(eq=False)
class _Listener:
    """A follower at the end of the log. `left` is done when it has to catch up from the files again."""

    cursor: Cursor
    live: Push
    left: asyncio.Future[None]


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


def _sync_and_close(fds: list[int]) -> None:
    try:
        for fd in fds:
            os.fdatasync(fd)
    finally:
        for fd in fds:
            os.close(fd)
