"""Disk space set aside so that a session can still say that the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

from oqto_runner.segments import as_disk_full

RESERVE_BYTES = 256 * 1024


class Reserve:
    """A file of real blocks beside the log, held while an agent lives."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "reserve"

    def ensure_room(self, size: int) -> None:
        """Make sure that `size` more bytes can be written now, and hold the reserve. Raises `DiskFull`."""
        with as_disk_full(self._path):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, max(size, RESERVE_BYTES))
            finally:
                os.ftruncate(fd, min(RESERVE_BYTES, os.fstat(fd).st_size))
                os.close(fd)

    def release(self) -> None:
        """Give the space to the log, or back."""
        self._path.unlink(missing_ok=True)
