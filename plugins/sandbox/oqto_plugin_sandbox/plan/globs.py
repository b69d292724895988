"""Globs in deny lists: expanded when a session starts, within bounds, never through symlinks."""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.disk import Disk

MAX_DEPTH = 64
"""Folders below the last plain name of a pattern. Agents make folders as well, so what lies deeper refuses the start."""

MAX_ENTRIES = 20_000
MAX_S = 2.0
_MAGIC = re.compile(r"[*?\[]")


class _Budget:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._left = MAX_ENTRIES
        self._ends_at = time.monotonic() + MAX_S

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0 or time.monotonic() > self._ends_at:
            raise Unconfined(
                f"the denied pattern {self._pattern!r} matches against more than {MAX_ENTRIES} entries "
                f"or takes longer than {MAX_S:g} s; name a narrower folder"
            )

    def refuse_depth(self, folder: str) -> None:
        raise Unconfined(
            f"the denied pattern {self._pattern!r} would have to be looked for in more than {MAX_DEPTH} folders "
            f"in each other, at {folder}; remove them or name a narrower folder"
        )


@lru_cache(maxsize=4096)
def is_glob(path: str) -> bool:
    return bool(_MAGIC.search(path))


def expand(paths: Iterable[str], disk: Disk) -> list[str]:
    """The paths with each glob replaced by what it matches now. Raises `Unconfined` beyond the bounds."""
    found: list[str] = []
    for path in paths:
        found += disk.ask(_matches, path) if is_glob(path) else [path]
    return sorted(set(found))


def _matches(pattern: str) -> list[str]:
    parts = pattern.strip("/").split("/")
    first = next(index for index, part in enumerate(parts) if is_glob(part))
    return list(_walk("/" + "/".join(parts[:first]), parts[first:], MAX_DEPTH, _Budget(pattern)))


def _walk(folder: str, parts: list[str], left: int, budget: _Budget) -> Iterator[str]:
    head, rest = parts[0], parts[1:]
    if head == "**":
        if rest:
            yield from _walk(folder, rest, left, budget)
        head, rest = "*", parts if rest else ["**"]
    try:
        found = _entries(folder, budget)
    except PermissionError:
        yield folder  # whose folder it is may open it again, and nobody knows what is in it
        return
    for entry in found:
        if not fnmatch.fnmatchcase(entry.name, head):
            continue
        is_last = not rest or rest == ["**"]
        if is_last:
            yield entry.path
        if rest and entry.is_dir(follow_symlinks=False):
            if not left:
                budget.refuse_depth(entry.path)
            yield from _walk(entry.path, rest, left - 1, budget)


def _entries(folder: str, budget: _Budget) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = []
            for entry in entries:
                budget.spend()
                found.append(entry)
            return found
    except PermissionError:
        raise
    except OSError:
        return []
