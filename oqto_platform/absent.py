"""
Plugins that are not loaded: switched off, of the other side only, or uninstalled with their data left behind.

Their sections stay in the configuration and do not stop a start. Which plugins there once were is kept in `plugins.json` of
the data folder, because an uninstalled one leaves nothing else that has its name and version.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from oqto_platform import config
from oqto_platform.config.sections import Paths
from oqto_platform.hooks import installed_names

if TYPE_CHECKING:
    from oqto_platform.types import PluginInfo

log = structlog.get_logger("oqto.plugins")

FILE = "plugins.json"


class Known(msgspec.Struct, frozen=True):
    """A plugin that was loaded once."""

    distribution: str
    version: str


class LeftBehind(msgspec.Struct, frozen=True, kw_only=True):
    """What is still there of a plugin that is not installed any more."""

    name: str
    distribution: str
    version: str
    folders: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """In words, for a list."""
        parts = [f"the folder {folder}" for folder in self.folders]
        parts += [f"tables: {', '.join(self.tables)}"] if self.tables else []
        return "; ".join(parts)


def names(path: Path | None, env: Mapping[str, str]) -> set[str]:
    """Every plugin that is installed on either side or was loaded once."""
    data_dir = Path(config.peek(path, env, "paths", Paths).data_dir)
    return installed_names() | set(remembered(data_dir))


def remembered(data_dir: Path) -> dict[str, Known]:
    """What was loaded once, by name. A broken file is as good as none: nothing depends on it but messages."""
    try:
        return msgspec.json.decode((data_dir / FILE).read_bytes(), type=dict[str, Known])
    except (OSError, msgspec.DecodeError):
        return {}


def remember(data_dir: Path, infos: Iterable[PluginInfo]) -> None:
    """Note what is loaded now; writes only when there is news."""
    before = remembered(data_dir)
    now = {info.name: Known(info.distribution, info.version) for info in infos if info.version}
    if before | now == before:
        return
    target, draft = data_dir / FILE, data_dir / f"{FILE}.{os.getpid()}.new"
    draft.touch(mode=0o600)
    draft.write_bytes(msgspec.json.encode(before | now))
    draft.replace(target)


def left_behind(data_dir: Path, state_dir: Path) -> list[LeftBehind]:
    """Uninstalled plugins of which data is left, alphabetical. Changes nothing."""
    here, known = installed_names(), remembered(data_dir)
    tables = _tables(data_dir / "oqto.db")
    found = (_of(name, known[name], (data_dir, state_dir), tables) for name in sorted(set(known) - here))
    return [one for one in found if one.folders or one.tables]


def idle_words(disabled: Iterable[str]) -> list[str]:
    """Names in `[plugins] disabled` that switch nothing off: misspelt, or of what was uninstalled. A start goes on."""
    return sorted(set(disabled) - installed_names())


def warn_of_idle_words(disabled: Iterable[str]) -> None:
    """Say at the start which names switch nothing off."""
    for name in idle_words(disabled):
        log.warning("[plugins] disabled names a plugin that is not installed", plugin=name,
                    installed=sorted(installed_names()), repair=f"oqtoctl plugins enable {name}")  # fmt: skip


def warn(data_dir: Path, state_dir: Path) -> None:
    """Say at the start what is left of plugins that are gone."""
    for one in left_behind(data_dir, state_dir):
        log.warning("plugin is not installed any more, its data is kept", plugin=one.name, version=one.version,
                    distribution=one.distribution, left=one.summary)  # fmt: skip


def _of(name: str, known: Known, roots: tuple[Path, ...], tables: list[str]) -> LeftBehind:
    # Two plugins may be called `a` and `a_b`: the version table says whose the others are.
    has_tables = f"{name}_version" in tables
    return LeftBehind(
        name=name,
        distribution=known.distribution,
        version=known.version,
        folders=tuple(str(root / name) for root in roots if _has_files(root / name)),
        tables=tuple(table for table in tables if has_tables and table.startswith(f"{name}_")),
    )


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _tables(database: Path) -> list[str]:
    if not database.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("select name from sqlite_master where type = 'table' order by name")
            return [str(name) for (name,) in rows]
    except sqlite3.Error:
        return []
