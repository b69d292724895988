"""Folders for the workspace picker: names and places, never the content of a file."""

from __future__ import annotations

import os
from pathlib import Path

from oqto_platform.errors import Forbidden, Invalid, OqtoError
from oqto_platform.wire import Folder, Listing

MOST_FOLDERS = 2000


def listing(path: str, *, show_hidden: bool = False) -> Listing:
    """The folders in `path` (`""` or `~`: home), by name. Raises `Invalid` or `Forbidden` that name the path."""
    folder = resolved(path)
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (e for e in entries if _is_shown(e, show_hidden=show_hidden)), key=lambda e: e.name.lower()
            )
    except OSError as exc:
        raise _refusal(folder, exc) from exc
    return Listing(
        path=str(folder),
        parent=None if folder == folder.parent else str(folder.parent),
        folders=[_folder(entry) for entry in found[:MOST_FOLDERS]],
        is_writable=os.access(folder, os.W_OK | os.X_OK),
        is_truncated=len(found) > MOST_FOLDERS,
    )


def resolved(path: str) -> Path:
    """An absolute path without links; `""` and `~` stand for the home. Raises `Invalid`."""
    if "\0" in path:
        raise Invalid("the path contains a NUL character")
    expanded = (
        Path.home() / path.removeprefix("~").lstrip("/")
        if path in ("", "~") or path.startswith("~/")
        else Path(path)
    )
    if not expanded.is_absolute():
        raise Invalid(f"{path} is not an absolute path; begin it with / or ~/")
    try:
        return expanded.resolve()
    except (OSError, RuntimeError) as exc:
        raise Invalid(f"{path} cannot be resolved: {exc}") from exc


def _is_shown(entry: os.DirEntry[str], *, show_hidden: bool) -> bool:
    if entry.name.startswith(".") and not show_hidden:
        return False
    try:
        return entry.is_dir()
    except OSError:
        return False


def _folder(entry: os.DirEntry[str]) -> Folder:
    return Folder(name=entry.name, path=entry.path, is_repository=(Path(entry.path) / ".git").exists())


def _refusal(folder: Path, exc: OSError) -> OqtoError:
    if isinstance(exc, PermissionError):
        return Forbidden(f"{folder} may not be read by uid {os.getuid()}")
    if isinstance(exc, FileNotFoundError):
        return Invalid(f"{folder} does not exist")
    if isinstance(exc, NotADirectoryError):
        return Invalid(f"{folder} is not a folder")
    return Invalid(f"{folder} cannot be read: {exc.strerror}")
