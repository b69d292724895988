"""What is on disk while one plan is made, each folder and path looked at once."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from typing import TypeVar

from oqto_plugin_sandbox.plan.looks import (
    Looks,
    end_of,
    kind_behind,
    kind_of,
    listed,
    names_of,
    target_of,
)
from oqto_plugin_sandbox.plan.model import is_within

P = TypeVar("P")
T = TypeVar("T")


class Disk:
    """
    Remembers what was seen. For one plan, which changes nothing itself and looks at nothing in any other way.

    One look at a folder of the home answers for all names in it, also for those that are missing; it tells types
    alone, so rights and sizes are asked for where they matter. In the `workspace` every name is asked for by
    itself: others come and go there all the time.
    """

    def __init__(self, home: str = "", workspace: str = "", looks: Looks | None = None) -> None:
        self._home, self._workspace = home, workspace
        self._looks = looks or Looks()
        self._kinds: dict[str, int] = {}
        self._folders: dict[str, dict[str, int] | None] = {}
        self._real: dict[str, str] = {"/": "/"}

    def ask(self, how: Callable[[P], T], what: P) -> T:
        """A look of a kind of its own; it is not remembered here."""
        return self._looks.at(how, what)

    def kind(self, path: str) -> int:
        """Type of what is at `path` itself, as in `stat.S_IFMT`; 0 when nothing is."""
        known = self._kinds.get(path)
        if known is None:
            known = self._kinds[path] = self._kind(path)
        return known

    def _kind(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        if folder in self._folders or self._is_in_home(folder):
            entries = self._look(folder)
            if entries is not None and (found := entries.get(name, 0)) >= 0:
                return found
        return self.ask(kind_of, path)

    def _is_in_home(self, folder: str) -> bool:
        return bool(self._home) and is_within(folder, self._home) and not is_within(folder, self._workspace)

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
        return self.ask(names_of, path) if self.kind(path) == stat.S_IFREG else 0

    def leads_to_folder(self, path: str) -> bool:
        """It is a folder, or a symbolic link that ends at one."""
        kind = self.kind(path)
        return (self.ask(kind_behind, path) if kind == stat.S_IFLNK else kind) == stat.S_IFDIR

    def target(self, link: str) -> str:
        """What is written in a symbolic link; empty when it is none any more."""
        return self.ask(target_of, link)

    def end(self, path: str) -> str:
        """Where a path leads when all symbolic links are followed."""
        return self.ask(end_of, path)

    def entries(self, folder: str) -> dict[str, int]:
        """Names in a folder with their types, -1 for those that have to be asked for; empty for what is no folder."""
        return self._look(folder) or {}

    def can_list(self, folder: str) -> bool:
        return self.is_folder(folder) and self._look(folder) is not None

    def _look(self, folder: str) -> dict[str, int] | None:
        try:
            return self._folders[folder]
        except KeyError:
            seen = self._folders[folder] = self.ask(listed, folder)
            return seen

    def real(self, folder: str) -> str:
        """Where a folder is when all symbolic links are followed."""
        known = self._real.get(folder)
        if known is None:
            parent, _, name = folder.rpartition("/")
            is_plain = self.is_folder(folder)
            known = f"{self.real(parent or '/').rstrip('/')}/{name}" if is_plain else self.end(folder)
            self._real[folder] = known
        return known

    def missing(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(path for path in paths if not self.is_there(path))
