"""What a plugin of the core side gets to work with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from oqto_platform.private import private_dir

if TYPE_CHECKING:
    from oqto_platform.canon import Event
    from oqto_platform.children import Child
    from oqto_platform.db import Database
    from oqto_platform.house import House
    from oqto_platform.types import SessionId


class CoreContext:
    """See `oqto_platform.types.Context`. Audit log and daemons exist from `prepare` on, the database from `startup` on."""

    def __init__(self, name: str, house: House) -> None:
        self._name = name
        self._house = house

    @property
    def name(self) -> str:
        return self._name

    @property
    def data_dir(self) -> Path:
        return private_dir(self._house.data_dir / self._name)

    @property
    def state_dir(self) -> Path:
        return private_dir(self._house.state_dir / self._name)

    @property
    def log(self) -> Any:
        return structlog.get_logger("oqto.plugin").bind(plugin=self._name)

    @property
    def db(self) -> Database:
        if not hasattr(self._house, "db"):
            raise RuntimeError("the database is still being opened; use context.db in startup or later")
        return self._house.db

    def settings(self) -> Any:
        return self._house.live.current.any_section(self._name)

    def audit(self, event: str, **fields: Any) -> None:
        self._house.audit.of_plugin(self._name, event, fields)

    def tell(self, session_id: SessionId, event: Event) -> bool:
        self._house.messenger.send(session_id, event)
        return True

    def leads(self) -> bool:
        return self._house.leadership.leads()

    async def supervise(self, child: Child) -> None:
        await self._house.children.supervise(child)
