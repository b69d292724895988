"""Stamps: a file beside a result that holds the hash of what the result was made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


def digest(inputs: Iterable[Path | str]) -> str:
    """Hash the contents of files (and of whole folders) and plain strings, in the order given."""
    total = hashlib.sha256()
    for one in inputs:
        total.update(f"\0{one}\0".encode())
        if isinstance(one, Path):
            for file in files_under(one):
                total.update(f"\0{file}\0".encode() + file.read_bytes())
    return total.hexdigest()


def files_under(
    path: Path, skip: frozenset[str] = frozenset({"node_modules", "dist", "__pycache__"})
) -> Iterator[Path]:
    """Yield the files of a folder in a stable order, or the file itself; nothing when it does not exist."""
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in skip)
        yield from (Path(folder, name) for name in sorted(names) if Path(folder, name).is_file())


@dataclass(frozen=True)
class Stamp:
    """Says whether `outputs` still come from `inputs`; kept at `path`, inside what it vouches for."""

    path: Path
    inputs: Callable[[], Iterable[Path | str]]
    outputs: Callable[[], Iterable[Path]]

    def key(self) -> str:
        return digest(self.inputs())

    def stale(self) -> str:
        """Return why the result must be made again, or an empty string."""
        missing = [path for path in self.outputs() if not path.exists()]
        if missing:
            return f"{missing[0].name} is missing"
        if not self.path.exists():
            return "not done yet"
        return "" if self.path.read_text() == self.key() else "what it is made from has changed"

    def seal(self, key: str) -> None:
        """Write the hash taken before the work began, so that an edit during the work counts as a change."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(key)
