"""The panels that a person sees, their files, and the frames of those that are not trusted."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.static_files import create_static_files_router

from oqto_platform.config.sections import Plugins
from oqto_platform.errors import NotFound
from oqto_platform.panels import frames
from oqto_platform.panels.catalogue import Shown
from oqto_platform.panels.schemas import PanelView
from oqto_platform.services import Services
from oqto_platform.types import Identity
from oqto_platform.web import UI

OURS = "-/"
"""Begins the path of a file of the frame itself."""


@get("/api/plugins/panels")
async def list_panels(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> list[PanelView]:
    trusted = services.live.current.section("plugins", Plugins).trusted_panels
    return [_view(shown, is_trusted=shown.plugin in trusted) for shown in services.panels.for_(identity)]


@get("/plugins/-/frame/{plugin:str}/{element:str}", media_type="text/html")
async def frame(
    plugin: FromPath[str],
    element: FromPath[str],
    services: NamedDependency[Services],
    identity: NamedDependency[Identity],
) -> Response[str]:
    """The sandboxed page of one panel."""
    shown = services.panels.find(plugin, element, identity)
    ticket = frames.ticket_for(plugin, services.tokens)
    return Response(frames.page(shown, ticket), headers=frames.PAGE_HEADERS, media_type="text/html")


@get("/plugins/-/file/{ticket:str}/{path:path}", opt={"public": True})
async def framed_file(
    ticket: FromPath[str], path: FromPath[Path], services: NamedDependency[Services]
) -> Response[bytes]:
    """A file for a sandboxed page, which has no cookie; the ticket stands in for it."""
    plugin = frames.plugin_of(ticket, services.tokens)
    name = path.as_posix().lstrip("/")
    folder = UI / "panels" if name.startswith(OURS) else services.panels.folders().get(plugin)
    file = _inside(folder, name.removeprefix(OURS))
    body = await asyncio.to_thread(file.read_bytes)
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return Response(body, headers=frames.FILE_HEADERS, media_type=kind)


HANDLERS = [list_panels, frame, framed_file]


def statics(folders: Mapping[str, Path]) -> list[Any]:
    """A router for `/plugins/<plugin>/…` per plugin with a folder `static`."""
    return [
        create_static_files_router(path=f"/plugins/{plugin}", directories=[folder], name=f"static-{plugin}")
        for plugin, folder in folders.items()
    ]


def _inside(folder: Path | None, name: str) -> Path:
    if folder is not None:
        file = (folder / name).resolve()
        if file.is_relative_to(folder.resolve()) and file.is_file():
            return file
    raise NotFound("the plugin has no such file")


def _view(shown: Shown, *, is_trusted: bool) -> PanelView:
    plugin, panel = shown.plugin, shown.panel
    return PanelView(
        plugin=plugin,
        element=panel.element,
        module=f"/plugins/{plugin}/{panel.module}",
        frame="" if is_trusted else f"/plugins/-/frame/{plugin}/{panel.element}",
        place=panel.place,
        title=panel.title,
        tools=panel.tools,
    )
