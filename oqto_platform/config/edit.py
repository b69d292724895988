"""Changes to `config.toml` that keep comments and order. Atomic: a reader sees the old file or the new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomlkit
from tomlkit.exceptions import ParseError

from oqto_platform.errors import ConfigError


@contextmanager
def edited(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    """The document of `path` (an empty one when there is no file); written back when the block succeeds."""
    path = path.resolve()
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except ParseError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    yield document
    _replace(path, tomlkit.dumps(document))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), mode)
    Path(temporary).replace(path)
