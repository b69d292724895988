"""
Plugins that an admin wants called again, told to every worker.

Each worker has a breaker of its own, and an admin's request reaches one of them. So it is written down, with a number,
where every worker looks about once a second.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from oqto_platform.errors import NotFound
from oqto_platform.metrics.files import replace


class Asked(msgspec.Struct):
    """Plugin to the number of its last reset; `last` is the highest of them."""

    last: int = 0
    plugins: dict[str, int] = {}


class Resets:
    """One worker's part. `seen`: the last reset that it has carried out."""

    def __init__(self, folder: Path, switch_on: Callable[[str], object]) -> None:
        self._path = folder / "resets.json"
        self._switch_on = switch_on
        self._stamp: object = None
        self.seen = self._read().last  # what was asked before there was this worker is not for it

    def ask(self, plugin: str) -> int:
        """Have every worker call `plugin` again; the number to wait for. Blocking."""
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            asked = self._read()
            asked.last += 1
            asked.plugins[plugin] = asked.last
            replace(self._path, msgspec.json.encode(asked))
        finally:
            os.close(lock)
        return asked.last

    def follow(self) -> None:
        """Carry out what was asked since the last look."""
        if (stamp := self._look()) == self._stamp:
            return
        asked = self._read()
        for plugin, number in asked.plugins.items():
            if number > self.seen:
                with suppress(NotFound):  # a runner's plugin, or one that this worker does not have
                    self._switch_on(plugin)
        self.seen, self._stamp = max(self.seen, asked.last), stamp

    def _look(self) -> object:
        with suppress(OSError):
            found = self._path.stat()
            return found.st_mtime_ns, found.st_ino, found.st_size
        return None

    def _read(self) -> Asked:
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._path.read_bytes(), type=Asked)
        return Asked()
