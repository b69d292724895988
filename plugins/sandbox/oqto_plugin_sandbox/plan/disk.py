"""What is on disk while one plan is made, each path looked at once."""

from __future__ import annotations

import os
import stat


class Disk:
    """Remembers what `lstat` said. For one plan, which changes nothing itself."""

    def __init__(self) -> None:
        self._seen: dict[str, os.stat_result | None] = {}

    def mode(self, path: str) -> int:
        """Type and rights of what is at `path` itself; 0 when nothing is."""
        status = self._status(path)
        return status.st_mode if status else 0

    def is_folder(self, path: str) -> bool:
        """What is missing here will be made as a folder before the start."""
        mode = self.mode(path)
        return not mode or stat.S_ISDIR(mode)

    def is_real(self, path: str) -> bool:
        """It is there, and no symbolic link."""
        mode = self.mode(path)
        return mode != 0 and not stat.S_ISLNK(mode)

    def names(self, path: str) -> int:
        """How many names a file has; 0 for everything else."""
        status = self._status(path)
        return status.st_nlink if status and stat.S_ISREG(status.st_mode) else 0

    def _status(self, path: str) -> os.stat_result | None:
        if path not in self._seen:
            try:
                self._seen[path] = os.lstat(path)
            except OSError:
                self._seen[path] = None
        return self._seen[path]
