"""
The workspaces of this account: an agent that works above one leaves its policy alone.

Those in which there were sessions, and folders that were found to have a policy before there was one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from itertools import chain, islice
from pathlib import Path

from oqto_plugin_sandbox.plan.model import is_within
from oqto_plugin_sandbox.scan import PASSED_OVER

POLICY_FOLDER = ".oqto"
MOST_LISTED, MOST_ENTRIES, MOST_FOLDERS = 16, 1_000, 128
"""Folders listed, entries read of each, and folders looked into: at most about a millisecond's work."""


class Known:
    """
    `notes` is a private folder with a link to each workspace; those that are gone are forgotten at the start.

    A link is made in one step: nothing that kills the runner leaves half a path.
    """

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._paths: set[str] = set()
        for note in notes.iterdir() if notes.is_dir() else ():
            self._load(note)

    def add(self, workspace: str) -> None:
        if workspace in self._paths:
            return
        self._notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(os.fsencode(workspace)).hexdigest()
        with contextlib.suppress(FileExistsError):
            (self._notes / name).symlink_to(workspace)
        self._paths.add(workspace)

    def below(self, workspace: str) -> tuple[str, ...]:
        """All that lie in `workspace`. What is found there now is kept: an agent could bury it among other folders."""
        for folder in with_policy(workspace):
            self.add(folder)
        known = tuple(self._paths)  # in one step, because others add meanwhile
        return tuple(sorted(path for path in known if path != workspace and is_within(path, workspace)))

    def _load(self, note: Path) -> None:
        with contextlib.suppress(OSError):
            if note.is_dir():
                self._paths.add(str(note.readlink()))
            else:
                note.unlink()


def with_policy(workspace: str) -> list[str]:
    """Folders in a workspace, and in those, that have a policy of their own. Links are not followed."""
    near = _folders(workspace)
    further = chain.from_iterable(map(_folders, near[:MOST_LISTED]))
    looked = islice(chain(near, further), MOST_FOLDERS)
    return [folder for folder in looked if _is_folder(f"{folder}/{POLICY_FOLDER}")]


def _folders(folder: str) -> list[str]:
    """Sorted, so that two looks at the same folder see the same."""
    try:
        with os.scandir(folder) as entries:
            some = islice(entries, MOST_ENTRIES)
            return sorted(entry.path for entry in some if _is_of_people(entry))
    except OSError:
        return []


def _is_of_people(entry: os.DirEntry[str]) -> bool:
    return entry.name not in (*PASSED_OVER, ".git", POLICY_FOLDER) and entry.is_dir(follow_symlinks=False)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
