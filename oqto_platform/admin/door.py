"""
The admin socket: the same routes on a 0600 Unix socket, for `oqtoctl`, without a token.

The leading worker serves it. Granian's embedded server takes no permissions for a socket, so the socket
is bound in a private folder beside it and moved to its place with its mode set; nobody can connect in between.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from oqto_platform.background import RETRY_S
from oqto_platform.config.sections import Server
from oqto_platform.peers import listener_pid
from oqto_platform.private import private_dir

if TYPE_CHECKING:
    from oqto_platform.house import House

log = structlog.get_logger("oqto.admin")


async def serve_door(house: House) -> None:
    """Serve until cancelled, from the moment this worker leads."""
    configured = house.settings.section("server", Server).admin_socket_path
    if not configured:
        return
    while not house.leadership.leads():  # noqa: ASYNC110 (a file lock has no event)
        await asyncio.sleep(RETRY_S)
    path = usable_path(configured, house.state_dir)
    try:
        await _serve(house.app, path)
    except OSError as exc:
        log.error("no admin socket", path=str(path), reason=str(exc), repair="set server.admin_socket_path")


def usable_path(configured: str, state_dir: Path) -> Path:
    """The configured path, or one in the state folder: where its own cannot be written, or is in use."""
    path, fallback = Path(configured), state_dir / "oqtoctl.sock"
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError:
        return fallback
    if listener_pid(configured) is not None:
        log.warning("another server has the admin socket", path=configured, used_instead=str(fallback))
        return fallback
    return path if os.access(path.parent, os.W_OK) else fallback


async def _serve(app: Any, path: Path) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server as Embedded

    hidden = private_dir(path.with_name(f".{path.name}.{os.getpid()}")) / "s"
    hidden.unlink(missing_ok=True)
    server = Embedded(_door(app), uds=hidden, interface=Interfaces.ASGINL, log_enabled=False)
    serving = asyncio.create_task(server.serve())
    try:
        while not hidden.exists() and not serving.done():  # noqa: ASYNC110 (a bound socket has no event)
            await asyncio.sleep(0.01)
        hidden.chmod(0o600)
        hidden.rename(path)
        hidden.parent.rmdir()
        await serving
    finally:
        path.unlink(missing_ok=True)
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.gather(serving, return_exceptions=True)


def _door(app: Any) -> Any:
    async def door(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["door"] = "admin-socket"
        await app(scope, receive, send)

    return door
