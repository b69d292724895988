"""Small private files that another process may read at any moment."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, text: bytes) -> None:
    """Put `text` in the place of what is there (0600); a reader sees one or the other."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    new.replace(path)
