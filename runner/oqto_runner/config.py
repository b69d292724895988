"""
The runner's part of `config.toml`: `[runner]` and the sections of the plugins that are loaded here.

Every other section is the core's and is left unread.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from oqto_platform.config import peek
from oqto_platform.config.sections import Runner
from oqto_platform.settings import Section, Settings

OWN: Mapping[str, type[Section]] = {"runner": Runner}


def load(path: Path | None, kinds: Mapping[str, type[Section]]) -> Settings:
    """The snapshot of `kinds`, by section name. Raises `ConfigError` that names file, section and key."""
    sections = {name: peek(path, os.environ, name, kind) for name, kind in kinds.items()}
    digest = hashlib.sha256(path.read_bytes() if path else b"").hexdigest()
    return Settings(sections, generation=1, digest=digest, source=str(path or "built-in defaults"))
