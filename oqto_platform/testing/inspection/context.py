"""The `Context` of an inspected plugin: real folders, real database, real children; nothing of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from oqto_platform.canon import Event
from oqto_platform.children import Child, Children
from oqto_platform.settings import Settings
from oqto_platform.types import SessionId


class InspectedContext:
    """See `oqto_platform.types.Context`. `told` and `audited` keep what the plugin said."""

    def __init__(self, name: str, root: Path, settings: Settings, db: Any = None) -> None:
        self.name = name
        self.db = db
        self.told: list[Event] = []
        self.audited: list[str] = []
        self.children = Children(self.leads)
        self._root = root
        self._settings = settings

    @property
    def data_dir(self) -> Path:
        return _private(self._root / "data" / self.name)

    @property
    def state_dir(self) -> Path:
        return _private(self._root / "state" / "plugins" / self.name)

    @property
    def log(self) -> Any:
        return structlog.get_logger("oqto.plugin").bind(plugin=self.name)

    def settings(self) -> Any:
        return self._settings.any_section(self.name) if self.name in self._settings.names() else None

    def audit(self, event: str, **fields: Any) -> None:
        self.audited.append(event)

    def tell(self, session_id: SessionId, event: Event) -> bool:
        self.told.append(event)
        return True

    def leads(self) -> bool:
        return True

    async def supervise(self, child: Child) -> None:
        await self.children.supervise(child)


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
