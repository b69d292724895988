"""What is on disk while one plan is made, each folder and path looked at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable


class Disk:
    """
    Remembers what was seen. For one plan, which changes nothing itself.

    One look at a folder of the home answers for all names in it, also for those that are missing; it tells types
    alone, so rights and sizes are asked for where they matter.
    """

    def __init__(self, home: str = "") -> None:
        self._home, self._below_home = home, f"{home}/" if home else ""
        self._kinds: dict[str, int] = {}
        self._seen: dict[str, os.stat_result | None] = {}
        self._folders: dict[str, dict[str, int] | None] = {}
        self._real: dict[str, str] = {"/": "/"}

    def kind(self, path: str) -> int:
        """Type of what is at `path` itself, as in `stat.S_IFMT`; 0 when nothing is."""
        known = self._kinds.get(path)
        if known is None:
            known = self._kinds[path] = self._kind(path)
        return known

    def _kind(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        if folder in self._folders or self._is_in_home(folder):
            listed = self._look(folder)
            if listed is not None and (found := listed.get(name, 0)) >= 0:
                return found
        status = self.status(path)
        return stat.S_IFMT(status.st_mode) if status else 0

    def _is_in_home(self, folder: str) -> bool:
        return bool(self._home) and (folder == self._home or folder.startswith(self._below_home))

    def is_there(self, path: str) -> bool:
        return self.kind(path) != 0

    def is_link(self, path: str) -> bool:
        return self.kind(path) == stat.S_IFLNK

    def is_folder(self, path: str) -> bool:
        return self.kind(path) == stat.S_IFDIR

    def is_real(self, path: str) -> bool:
        """It is there, and no symbolic link."""
        return self.kind(path) not in (0, stat.S_IFLNK)

    def names(self, path: str) -> int:
        """How many names a file has; 0 for everything else."""
        status = self.status(path) if self.kind(path) == stat.S_IFREG else None
        return status.st_nlink if status else 0

    def status(self, path: str) -> os.stat_result | None:
        if path not in self._seen:
            try:
                self._seen[path] = os.lstat(path)
            except OSError:
                self._seen[path] = None
        return self._seen[path]

    def entries(self, folder: str) -> dict[str, int]:
        """Names in a folder with their types, -1 for those that have to be asked for; empty for what is no folder."""
        return self._look(folder) or {}

    def can_list(self, folder: str) -> bool:
        return self.is_folder(folder) and self._look(folder) is not None

    def _look(self, folder: str) -> dict[str, int] | None:
        try:
            return self._folders[folder]
        except KeyError:
            listed = self._folders[folder] = _listed(folder)
            return listed

    def real(self, folder: str) -> str:
        """Where a folder is when all symbolic links are followed."""
        known = self._real.get(folder)
        if known is None:
            parent, _, name = folder.rpartition("/")
            is_plain = self.is_folder(folder)
            known = f"{self.real(parent or '/').rstrip('/')}/{name}" if is_plain else os.path.realpath(folder)
            self._real[folder] = known
        return known

    def missing(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(path for path in paths if not self.is_there(path))


def _listed(folder: str) -> dict[str, int] | None:
    """`None` for a folder that may not be listed, although what is in it may well be in reach."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: _kind(entry) for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError:
        return None


def _kind(entry: os.DirEntry[str]) -> int:
    """Without a system call on most file systems, which tell the type along with the name."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else -1
