"""Pi's session files: which one to continue, repair of a torn end, and the lock of the session.

A file begins with a header line and grows by one JSON line per entry. A killed pi may leave half a
line; 0.74 then glues its next entry to it and loses both, so the tail is mended before every start.
Two processes on one file would make two silent branches, so a lock is held as long as one lives.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from oqto_platform.errors import AgentFailed, Conflict, Invalid, NotFound
from oqto_runner.harness.pi.private import open_plain, write_private
from oqto_runner.harness.pi.values import decode, record, records, text

CHUNK = 64 * 1024
MAX_HEADER = 64 * 1024
MAX_CONVERSATIONS = 50
TITLE_CHARS = 120
IN_USE = "another pi works on this session; stop it first"


class Lock:
    """The session taken for one process. `is_live`: the process was started and is not gone yet."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_live = False

    @property
    def is_held(self) -> bool:
        return self._descriptor >= 0

    def release(self) -> None:
        """Give the session back; harmless when that was done."""
        if self.is_held:
            os.close(self._descriptor)
        self._descriptor, self.is_live = -1, False


class Shelf:
    """The session files under the private directory `home` of one session.

    `folder` is writable for the agent. The lock and the note of the current file lie outside of it.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "pi" / "sessions"
        self._note = home / "pi.current"
        self._lock = home / "pi.lock"

    def lock(self) -> Lock:
        """Take the session for one process. Raises `Conflict`."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            raise Conflict(IN_USE) from exc
        return Lock(descriptor)

    def remember(self, file: str) -> None:
        """Note which conversation is the current one, so that a restart continues with it."""
        try:
            self.check(file, must_exist=False)
            write_private(self._note, file.encode())
        except (Invalid, NotFound, AgentFailed):
            # Only a hint: without it the newest file is taken.
            self._note.unlink(missing_ok=True)

    def current(self) -> Path | None:
        """The file to continue, mended: the one in the note, else the newest; `None` for a fresh start."""
        noted = self._noted()
        if noted is not None and not noted.exists():
            return noted
        file = noted if noted is not None and _header(noted) is not None else self._newest()
        if file is not None:
            mend(file)
        return file

    def check(self, path: str, *, must_exist: bool = True) -> Path:
        """`path` (absolute, or a name) as a session file of this shelf. Raises `Invalid`, `NotFound`."""
        file = self.folder / path.replace("\0", "/")
        if file.parent != self.folder or file.suffix != ".jsonl" or file.name.startswith("."):
            raise Invalid(f"session_path: {path} is not a .jsonl file of this session's folder {self.folder}")
        if must_exist and _header(file) is None:
            raise NotFound(f"session_path: {path} is not one of this session's conversations")
        return file

    def conversations(self, current: str) -> list[dict[str, Any]]:
        """What may be switched to, the last used first; `used_at` in seconds, `title` empty when nothing was said."""
        found = sorted(self._files(), key=lambda file: file.lstat().st_mtime, reverse=True)
        return [
            {
                "session_path": str(file),
                "title": _title(file),
                "used_at": file.lstat().st_mtime,
                "is_current": str(file) == current,
            }
            for file in found[:MAX_CONVERSATIONS]
        ]

    def _noted(self) -> Path | None:
        try:
            return self.check(self._note.read_text(), must_exist=False)
        except (OSError, ValueError, Invalid):
            return None

    def _newest(self) -> Path | None:
        found = [(file.lstat().st_mtime_ns, file.name, file) for file in self._files()]
        return max(found)[2] if found else None

    def _files(self) -> list[Path]:
        return [file for file in self.folder.glob("*.jsonl") if _header(file) is not None]


def mend(file: Path) -> None:
    """End `file` with a whole line: a complete last entry gets its newline, half an entry is cut off."""
    descriptor = open_plain(file, os.O_RDWR)
    if descriptor is None:
        raise AgentFailed(f"{file} is not a plain file; move it away and start the session again")
    try:
        size = os.fstat(descriptor).st_size
        start = _last_line(descriptor, size)
        if start == size:
            return
        if decode(os.pread(descriptor, size - start, start)) is not None:
            os.pwrite(descriptor, b"\n", size)
        else:
            os.ftruncate(descriptor, start)
    finally:
        os.close(descriptor)


def _last_line(descriptor: int, size: int) -> int:
    """Offset behind the last newline."""
    end = size
    while end > 0:
        start = max(0, end - CHUNK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _title(file: Path) -> str:
    """The name that was given, else the first message of the person; as far as the beginning of `file` tells."""
    named = said = ""
    for line in _beginning(file).splitlines():
        entry = decode(line) or {}
        if entry.get("type") == "session_info":
            named = text(entry, "name")
        elif not said and record(entry, "message").get("role") == "user":
            said = _words(record(entry, "message").get("content"))
    return (named or said).strip().partition("\n")[0][:TITLE_CHARS]


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    return next(
        (text(part, "text") for part in records({"parts": content}, "parts") if text(part, "text")), ""
    )


def _header(file: Path) -> dict[str, Any] | None:
    """The first line of a session file; `None` when it is none."""
    header = decode(_beginning(file).partition(b"\n")[0])
    return header if header is not None and header.get("type") == "session" else None


def _beginning(file: Path) -> bytes:
    descriptor = open_plain(file, os.O_RDONLY)
    if descriptor is None:
        return b""
    try:
        return os.read(descriptor, MAX_HEADER)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
