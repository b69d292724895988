"""
The numbers of all workers together, whichever of them is asked.

Each worker leaves its numbers in a file about once a second while they change. Those of a worker that ended are
added to a total, so a counter never falls; gauges end with their worker.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from oqto_platform.hooks import HookCount
from oqto_platform.hooks.counted import together
from oqto_platform.metrics.counts import FAMILIES, Counts
from oqto_platform.metrics.files import replace

EVERY_S = 1.0


class Numbers(msgspec.Struct, kw_only=True):
    """
    What a file holds. Labels are joined with a newline, which no label has. `folded`: files that are in here.

    `resets`: the last reset of a plugin that the worker, or of several the slowest, has carried out.
    """

    values: dict[str, dict[str, float]] = {}
    buckets: dict[str, dict[str, list[float]]] = {}
    hooks: list[HookCount] = []
    folded: list[str] = []
    workers: int = 0
    resets: int = 0

    def add(self, other: Numbers, *, is_over: bool = False) -> None:
        """Add up; of a worker that is over, without its gauges."""
        for metric, series in other.values.items():
            if is_over and FAMILIES[metric].kind == "gauge":
                continue
            mine = self.values.setdefault(metric, {})
            for labels, value in series.items():
                mine[labels] = mine.get(labels, 0) + value
        self.hooks = together(
            [*self.hooks, *map(_ended, other.hooks)] if is_over else [*self.hooks, *other.hooks]
        )
        for metric, rows in other.buckets.items():
            known = self.buckets.setdefault(metric, {})
            for labels, row in rows.items():
                known[labels] = [a + b for a, b in zip(known.get(labels, [0.0] * len(row)), row, strict=True)]


class Shared:
    """One worker's part. `hooks` tells how the hooks did here; `resets` is as in `Numbers`."""

    def __init__(self, folder: Path, counts: Counts, hooks: Callable[[], list[HookCount]] = list) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._counts = counts
        self._hooks = hooks
        self.resets = 0
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._alive = os.open(self._path("alive"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._alive, fcntl.LOCK_EX)  # let go by the kernel, however we end
        self._written = b""
        self._taken = self._saved = 0
        self._saving = threading.Lock()

    async def publish(self) -> None:
        """Leave the numbers for the other workers."""
        # In a thread: a file system may flush a file that replaces another, for milliseconds.
        await asyncio.to_thread(self._save, *self.take())

    def close(self) -> None:
        """Leave the last numbers; the next reader adds them to the total."""
        self.write()
        os.close(self._alive)

    def write(self) -> None:
        """Write the file if a number has changed."""
        self._save(*self.take())

    def take(self) -> tuple[int, bytes]:
        """Our numbers, to be saved by any thread. Belongs to the thread that counts."""
        self._taken += 1
        return self._taken, msgspec.json.encode(self.own())

    def _save(self, taken: int, text: bytes) -> None:
        """What was taken later is not replaced by what was taken earlier."""
        with self._saving:
            if taken > self._saved and text != self._written:
                replace(self._path("json"), text)
                self._written = text
            self._saved = max(taken, self._saved)

    def own(self) -> Numbers:
        """Our numbers, as they are now."""
        return Numbers(
            values={
                metric: {"\n".join(labels): value for labels, value in series.items()}
                for metric, series in self._counts.values.items()
            },
            buckets={
                metric: {"\n".join(labels): list(row) for labels, row in rows.items()}
                for metric, rows in self._counts.buckets.items()
            },
            hooks=[count for count in self._hooks() if count.calls or count.skipped],
            workers=1,
            resets=self.resets,
        )

    def together(self, taken: tuple[int, bytes] | None = None) -> Numbers:
        """Everybody's numbers, ours as `taken`. Blocking: a few small files."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # First, because another worker that is asked next must not know less than we tell now.
            self._save(*(taken or self.take()))
            total = self._fold()
            workers = [_read(self._folder / f"{name}.json") for name in self._names()]
            for worker in workers:
                total.add(worker)
            total.workers, total.resets = len(workers), min((worker.resets for worker in workers), default=0)
        finally:
            os.close(lock)
        return total

    def _fold(self) -> Numbers:
        """Add to the total what ended workers left. A crash in between counts nobody twice."""
        path = self._folder / "total.json"
        total, names = _read(path), self._names()
        over = [name for name in names if name != self._name and self._is_over(name)]
        for name in over:
            if name not in total.folded:
                total.add(_read(self._folder / f"{name}.json"), is_over=True)
        total.folded = [name for name in total.folded if name in names and name not in over] + over
        if over:
            replace(path, msgspec.json.encode(total))
        for name in over:
            for suffix in ("json", "alive"):
                (self._folder / f"{name}.{suffix}").unlink(missing_ok=True)
        return total

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.alive"))

    def _is_over(self, name: str) -> bool:
        try:
            handle = os.open(self._folder / f"{name}.alive", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._name}.{suffix}"


def _read(path: Path) -> Numbers:
    with suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(path.read_bytes(), type=Numbers)
        found.values = {metric: series for metric, series in found.values.items() if metric in FAMILIES}
        return found
    return Numbers()


def _ended(count: HookCount) -> HookCount:
    return msgspec.structs.replace(count, off=0)
