"""The configuration over HTTP, for admins: what holds and why, changing it, what was refused."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from oqto_platform.config import files
from oqto_platform.config.schema import schema
from oqto_platform.config.schemas import SettingsChange, SettingsView
from oqto_platform.config.status import ConfigStatus
from oqto_platform.config.view import views
from oqto_platform.errors import ConfigError, Invalid
from oqto_platform.services import Services
from oqto_platform.types import Identity


@get("/api/settings", opt={"admin": True})
async def read(services: NamedDependency[Services]) -> SettingsView:
    return _view(services)


@patch("/api/settings", opt={"admin": True})
async def change(
    data: JSONBody[SettingsChange], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> SettingsView:
    """Checked as a whole, then written, then taken: 422 and 409 leave everything as it was."""
    from oqto_platform.config import edit

    await services.access.check_admin(identity, "settings.change", ", ".join(data.values))
    path = services.reloading.file_to_write()
    try:
        edit.change(
            path,
            data.values,
            kinds=services.reloading.kinds,
            check=services.reloading.check,
            seen=data.revision,
        )
        await services.reloading.reload("changed over HTTP", identity.name)
    except ConfigError as exc:
        raise Invalid(exc.detail) from exc
    return _view(services)


@get("/api/settings/status", opt={"admin": True})
async def status(services: NamedDependency[Services]) -> ConfigStatus:
    return services.reloading.status()


@post("/api/settings/reload", opt={"admin": True}, status_code=200)
async def reload(services: NamedDependency[Services], identity: NamedDependency[Identity]) -> ConfigStatus:
    """Read the files now; what is wrong with them stands in the answer."""
    with suppress(ConfigError):  # the status tells it
        await services.reloading.reload("asked for", identity.name)
    return services.reloading.status()


@get("/api/settings/schema", opt={"admin": True})
async def json_schema(services: NamedDependency[Services]) -> dict[str, Any]:
    return schema(services.reloading.kinds)


HANDLERS = [read, change, status, reload, json_schema]


def _view(services: Services) -> SettingsView:
    from oqto_platform.config import edit

    live, path = services.live, services.reloading.file_to_write()
    return SettingsView(
        file=str(path),
        revision=edit.revision(edit.text_of(path)),
        read_only=_read_only(str(path), files.existing(path.parent)),
        status=services.reloading.status(),
        keys=list(views(services.reloading.kinds, live.current, live.wanted)),
    )


def _read_only(path: str, folder: Path) -> str:
    if os.access(folder, os.W_OK):
        return ""
    return f"The server may not write {path}. Change it there: sudo oqtoctl config set KEY VALUE"
