"""Files in a folder that an agent may write too: never follow what it may have planted there.

The runner writes and repairs these files outside of the sandbox, so a symbolic link that an agent
left behind must not lead it elsewhere.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from oqto_platform.errors import AgentFailed


def make_private_folder(path: Path) -> None:
    """Make `path` (0700), or check that it is a real folder. Raises `AgentFailed`."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise AgentFailed(f"{path} is not a folder; move it away and start the session again")
        path.chmod(0o700)
    except OSError as exc:
        raise AgentFailed(f"{path} cannot be made: {exc.strerror}; free or repair that folder") from exc


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a 0600 file, atomically; a link at `path` is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise AgentFailed(f"{path} cannot be written: {exc.strerror}; free or repair that folder") from exc


def open_plain(path: Path, flags: int) -> int | None:
    """A descriptor of a regular file with one name; `None` for anything else."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None
