"""Where the audit log of this machine lies, from the configuration alone: for programs beside the server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from oqto_platform import config
from oqto_platform.config.sections import Logging, Paths

SEAL = "audit.seal"
"""In the state directory."""


class Place(NamedTuple):
    """`path` is `None` when auditing is switched off."""

    path: Path | None
    seal: Path


def place(logging: Logging, state_dir: Path) -> Place:
    """Where a server with these settings keeps its audit log."""
    path = Path(logging.audit_file) if logging.audit_file else state_dir / "audit.log.jsonl"
    return Place(path if logging.audit_enabled else None, state_dir / SEAL)


def configured(env: Mapping[str, str], config_path: str) -> Place:
    """The same, from the files. Raises `ConfigError`."""
    path = config.locate(env, config_path)
    state_dir = Path(config.peek(path, env, "paths", Paths).state_dir)
    return place(config.peek(path, env, "logging", Logging), state_dir)
