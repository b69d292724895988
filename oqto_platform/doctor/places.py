"""Folders and files: there, ours, closed to others, and with room on their disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from oqto_platform.types import Check

LOW_MB, LOW_INODES = 256, 1000
PRIVATE = ("jwt-secret", "setup-link", "token-epoch", "vault.key")
PRIVATE_SUFFIXES = (".db", ".db-wal", ".jsonl", ".log", ".seal", ".key", ".toml")
OTHERS = 0o077


def folder(name: str, path: Path) -> Check:
    """A folder of the server: made at the first start, and from then on for its owner alone."""
    if not path.exists():
        parent = _nearest(path)
        is_ok = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        repair = f"mkdir -p -m 700 {path}, and give it to the account of the server"
        return _check(
            name,
            f"{path} will be made at the first start",
            is_ok,
            f"{path} cannot be made in {parent}",
            repair,
        )
    if not path.is_dir():
        return _failing(
            name, f"{path} is a file; a folder is meant", f"move {path} away, or set another path"
        )
    status = path.stat()
    if status.st_mode & OTHERS:
        return _failing(name, f"{path} is open to others (mode {_mode(status)})", f"chmod 700 {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        return _failing(name, f"{path} cannot be written", f"chown -R {_user()} {path}")
    return Check(name=name, ok=True, detail=f"{path}, mode {_mode(status)}")


def private_files(folders: list[Path]) -> Check:
    """Nobody else may read keys, links, logs and tables."""
    open_to_others = [path for path in _private(folders) if path.stat().st_mode & OTHERS]
    if open_to_others:
        named = " ".join(map(str, open_to_others))
        return _failing("private files", f"open to others: {named}", f"chmod 600 {named}")
    return Check(name="private files", ok=True, detail="keys, logs and tables are their owner's alone")


def _private(folders: list[Path]) -> Iterator[Path]:
    for place in folders:
        for path in sorted(place.iterdir()) if os.access(place, os.R_OK | os.X_OK) and place.is_dir() else ():
            if path.is_file() and not path.is_symlink() and _is_private(path):
                yield path


def _is_private(path: Path) -> bool:
    return path.name in PRIVATE or path.name.rstrip("0123456789.").endswith(PRIVATE_SUFFIXES)


def disk(name: str, path: Path) -> Check:
    """Room for tables and logs; a full disk stops sessions."""
    parent = _nearest(path)
    found = os.statvfs(parent)
    free_mb = found.f_bavail * found.f_frsize // 2**20
    repair = f"free some space: df -h {parent}; du -xh {parent} | sort -h | tail"
    if free_mb < LOW_MB:
        return _failing(name, f"only {free_mb} MiB are free at {parent}", repair)
    if found.f_files and found.f_favail < LOW_INODES:
        return _failing(
            name, f"only {found.f_favail} more files fit at {parent}", f"remove files: df -i {parent}"
        )
    return Check(name=name, ok=True, detail=f"{free_mb} MiB free at {parent}")


def web_ui(page: Path) -> Check:
    """The built page that browsers get."""
    repair = "in a checkout: make ui; else: pip install --force-reinstall oqto-platform"
    return _check("web UI", f"built: {page.parent}", page.is_file(), "it is not built", repair)


def _check(name: str, good: str, is_ok: bool, bad: str, repair: str) -> Check:  # noqa: FBT001
    return Check(name=name, ok=True, detail=good) if is_ok else _failing(name, bad, repair)


def _failing(name: str, detail: str, repair: str) -> Check:
    return Check(name=name, ok=False, detail=detail, repair=repair)


def _nearest(path: Path) -> Path:
    """The path itself, or the folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):03o}"


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
