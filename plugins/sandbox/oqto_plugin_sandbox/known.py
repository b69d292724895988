"""The workspaces in which this account has had sessions: an agent that works above one leaves its policy alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from oqto_plugin_sandbox.plan.model import is_within


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
        return tuple(sorted(path for path in self._paths if path != workspace and is_within(path, workspace)))

    def _load(self, note: Path) -> None:
        with contextlib.suppress(OSError):
            if note.is_dir():
                self._paths.add(str(note.readlink()))
            else:
                note.unlink()
