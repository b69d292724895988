"""
Looks at the machine, written down, so that whoever rests on them can ask whether all of them still hold.

A plan follows from the policy, the request and what was seen. When every look, made again in the same order, shows
the same, planning anew would see nothing else and come to the same plan.
"""

# ruff: noqa: PTH115, PTH116 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from oqto_platform.errors import OqtoError

K = TypeVar("K")
P = TypeVar("P")
T = TypeVar("T")
MOST_KEPT = 8


class Looks:
    """
    In the order in which they were made, each with what it showed.

    A way to look is a function of one value. It tells no more than what matters, because more would differ more
    often, and nobody may change its answer.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Callable[[Any], object], Any, object]] = []

    def at(self, how: Callable[[P], T], what: P) -> T:
        seen = how(what)
        self._made.append((how, what, seen))
        return seen

    def still_hold(self) -> bool:
        """What cannot be seen any more is different as well."""
        try:
            for how, what, seen in self._made:
                if how(what) != seen:
                    return False
        except (OSError, OqtoError):
            return False
        return True


class _Kept(NamedTuple):
    question: object
    looks: Looks
    answer: Any


class Memory(Generic[K, T]):
    """The latest answers, each given again only while all looks that it rests on hold. Errors are never kept."""

    def __init__(self) -> None:
        self._kept: tuple[_Kept, ...] = ()

    def recall(self, question: K, answer: Callable[[Looks], T]) -> T:
        """`answer` has to follow from the question and its looks alone. Threads may ask at the same time."""
        for kept in self._kept:
            if kept.question == question and kept.looks.still_hold():
                return kept.answer  # type: ignore[no-any-return]
        looks = Looks()
        found = answer(looks)
        others = [kept for kept in self._kept if kept.question != question]
        self._kept = (_Kept(question, looks, found), *others[: MOST_KEPT - 1])
        return found


def kind_of(path: str) -> int:
    """Type of what is at `path` itself, as in `stat.S_IFMT`; 0 when nothing is or when nobody may know."""
    try:
        return os.lstat(path).st_mode & 0o170000
    except OSError:
        return 0


def names_of(path: str) -> int:
    """How many names a file has; 0 for everything else."""
    try:
        status = os.lstat(path)
    except OSError:
        return 0
    return status.st_nlink if stat.S_ISREG(status.st_mode) else 0


def listed(folder: str) -> dict[str, int] | None:
    """
    Names in a folder with their types, -1 for those that have to be asked for; empty for what is no folder.

    `None` for a folder that may not be listed, although what is in it may well be in reach.
    """
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


def end_of(path: str) -> str:
    """Where a path leads when all symbolic links are followed."""
    return os.path.realpath(path)


def kind_behind(path: str) -> int:
    """Type of what a path leads to; 0 when it leads nowhere."""
    try:
        return os.stat(path).st_mode & 0o170000
    except OSError:
        return 0


def target_of(link: str) -> str:
    """What is written in a symbolic link; empty when it is none any more."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)


def effective_uid(_: None) -> int:
    return os.geteuid()
