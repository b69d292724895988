"""
The runner's part of `config.toml`: `[runner]` and the sections of the plugins that are loaded here.

Every other section is the core's and is left unread. The file is looked at again before each session; one
that is wrong changes nothing. What was right last is kept, so that a typo cannot keep a runner from starting.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from oqto_platform.config import files, peek
from oqto_platform.config.live import Change, Live
from oqto_platform.config.sections import Runner
from oqto_platform.config.validate import Reader
from oqto_platform.errors import ConfigError
from oqto_platform.settings import Section, Settings
from oqto_platform.types import Check

OWN: Mapping[str, type[Section]] = {"runner": Runner}
Kinds = Mapping[str, type[Section]]
log = structlog.get_logger("oqto.runner")


def load(path: Path | None, kinds: Kinds, generation: int = 1) -> Settings:
    """The snapshot of `kinds`, by section name. Raises `ConfigError` that names file, section and key."""
    sections = {name: peek(path, os.environ, name, kind) for name, kind in kinds.items()}
    digest = hashlib.sha256(path.read_bytes() if path else b"").hexdigest()
    source = str(path or "built-in defaults")
    return Settings(sections, generation=generation, digest=digest, source=source)


class Current:
    """The snapshot that holds in this runner. `kept` is where what was right last is written."""

    def __init__(self, path: Path | None, kinds: Kinds, kept: Path) -> None:
        """Raises `ConfigError` when the file is wrong and nothing was ever right."""
        self._path = path
        self._kinds = kinds
        self._kept = kept
        self._seen: object = None
        self.live = Live(self._first(), lambda generation: load(path, kinds, generation))

    def refresh(self) -> Change | None:
        """Read the file again if it changed; what changed with it."""
        if self._path is None or (seen := self._fingerprint()) == self._seen:
            return None
        self._seen = seen
        try:
            change = self.live.reload()
        except ConfigError as exc:
            log.error("configuration refused; the one before holds", reason=exc.detail)
            return None
        self._keep()
        return change

    def check(self) -> Check:
        """One line for the health report."""
        repair = "mend the file; it is read again before the next session"
        error = self.live.error
        return Check(name="config", ok=not error, detail=error or self.live.current.source, repair=repair)

    def _first(self) -> Settings:
        try:
            settings = load(self._path, self._kinds)
        except ConfigError as exc:
            if not self._kept.is_file():
                raise
            log.error("configuration refused; what was right last holds", reason=exc.detail)
            return self._last_good()
        self._seen = self._fingerprint()
        self._keep()
        return settings

    def _fingerprint(self) -> object:
        return files.fingerprint(tuple(files.related(self._path))) if self._path else None

    def _last_good(self) -> Settings:
        tables = msgspec.json.decode(self._kept.read_bytes(), type=dict[str, dict[str, Any]])
        reader = Reader(os.environ, str(self._kept), {})
        sections = {
            name: reader.section(name, kind, tables.get(name, {})) for name, kind in self._kinds.items()
        }
        return Settings(sections, generation=1, digest="", source=str(self._kept))

    def _keep(self) -> None:
        """Only our own sections, as they stand in the file: the secrets of the core have no business here."""
        if self._path is None:
            return
        tables: dict[str, dict[str, Any]] = {}
        for _, tree in files.read(self._path):
            for name in self._kinds:
                tables.setdefault(name, {}).update(tree.get(name, {}))
        new = self._kept.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.encode(tables))
        new.replace(self._kept)
