"""Folders that only their owner can enter."""

from __future__ import annotations

from pathlib import Path


def private_dir(path: Path) -> Path:
    """`path` as such a folder, made when missing, and so is every folder above it that is missing."""
    # `mkdir(parents=True)` gives its mode to the last one alone.
    if not path.parent.exists():
        private_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    return path
