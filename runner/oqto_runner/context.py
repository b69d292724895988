"""What a plugin of the runner gets to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from oqto_platform import clock
from oqto_platform.canon import Event
from oqto_platform.children import Child
from oqto_platform.settings import Section, Settings
from oqto_platform.types import SessionId
from oqto_runner import recorded


@dataclass(frozen=True)
class PluginContext:
    """The `Context` of one plugin on this side: no database, and the runner always leads."""

    name: str
    root: Path
    snapshot: Callable[[], Settings]
    keep_running: Callable[[Child], Awaitable[None]]
    tell_session: Callable[[SessionId, Event], bool]
    db: None = None

    @property
    def data_dir(self) -> Path:
        """A private directory that survives restarts."""
        return _private(self.root / "plugins" / self.name / "data")

    @property
    def state_dir(self) -> Path:
        """A private directory for sockets and the like."""
        return _private(self.root / "plugins" / self.name / "state")

    @property
    def log(self) -> Any:
        return structlog.get_logger(f"oqto.plugins.{self.name}").bind(plugin=self.name)

    def settings(self) -> Section | None:
        """The plugin's section; `None` when it registered none."""
        snapshot = self.snapshot()
        return snapshot.section(self.name, Section) if self.name in snapshot.names() else None

    def audit(self, event: str, **fields: Any) -> None:
        """Record it here; the core brings it into its audit log."""
        recorded.write(self.root, {"ts": clock.now_ms(), "plugin": self.name, "event": event, **fields})

    def tell(self, session_id: SessionId, event: Event) -> bool:
        """Add an event to the log of a session that lives here."""
        return self.tell_session(session_id, event)

    def leads(self) -> bool:
        return True

    async def supervise(self, child: Child) -> None:
        """Keep `child` running for as long as the runner does."""
        await self.keep_running(child)


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
