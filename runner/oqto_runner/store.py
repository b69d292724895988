"""What the runner keeps about a session beside its log: who it is, how it ended, which process it had."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from oqto_platform.errors import Invalid
from oqto_platform.types import Outcome, Session
from oqto_runner.segments import as_disk_full

T = TypeVar("T")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """
    Enough to recognise, after a crash of the runner, a process that it left.

    Kept before the process is made, with the number 0, and again when its number is known. `group` is the
    folder of its control group: a later runner might choose another hierarchy.
    """

    boot: str
    pid: int = 0
    started: int = 0
    group: str = ""


class SessionFolder:
    """`<state>/sessions/<id>` (0700): the log, `session.json`, `outcome.json`, `process.json`, `agent/`."""

    def __init__(self, root: Path, session_id: str) -> None:
        """Raises `Invalid` for an id that could leave the folder."""
        if not _ID.fullmatch(session_id):
            raise Invalid(f"session_id {session_id!r} is not an id: letters, digits, _ and - only")
        self.session_id = session_id
        self.path = root / session_id

    def exists(self) -> bool:
        return self.path.is_dir()

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def agent_home(self) -> Path:
        """The private directory of the agent, kept between starts."""
        home = self.path / "agent"
        home.mkdir(mode=0o700, exist_ok=True)
        return home

    def session(self) -> Session | None:
        return self._read("session.json", Session)

    def outcome(self) -> Outcome | None:
        return self._read("outcome.json", Outcome)

    def footprint(self) -> Footprint | None:
        return self._read("process.json", Footprint)

    def keep(self, value: Session | Outcome | Footprint) -> None:
        """Write one of the three files, whole or not at all. Raises `DiskFull`."""
        target = self.path / self._name(type(value))
        fresh = target.with_suffix(".new")
        with as_disk_full(target):
            self._write(fresh, msgspec.json.encode(value))
        fresh.rename(target)

    @staticmethod
    def _write(fresh: Path, data: bytes) -> None:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)

    def forget(self, kind: type[Outcome | Footprint]) -> None:
        (self.path / self._name(kind)).unlink(missing_ok=True)

    def remove(self) -> None:
        """Everything of the session, for ever; also what its agent made unreadable."""
        for folder, _, _ in os.walk(self.path):
            Path(folder).chmod(0o700)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None

    @staticmethod
    def _name(kind: type[Session | Outcome | Footprint]) -> str:
        return {Session: "session.json", Outcome: "outcome.json", Footprint: "process.json"}[kind]
