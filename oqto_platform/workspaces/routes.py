"""Workspaces over HTTP: recent ones, the folder picker, opening and making."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from oqto_platform.audit.events import WorkspaceCreated
from oqto_platform.services import Services
from oqto_platform.types import Identity
from oqto_platform.workspaces.schemas import (
    FolderListing,
    NewWorkspace,
    OpenedWorkspace,
    TemplateView,
    WorkspaceView,
)


@get("/api/workspaces")
async def list_workspaces(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> list[WorkspaceView]:
    return await services.workspaces.recent(identity)


@get("/api/workspaces/browse")
async def browse(
    services: NamedDependency[Services],
    identity: NamedDependency[Identity],
    path: FromQuery[str] = "",
    hidden: FromQuery[bool] = False,  # noqa: FBT002 (a query parameter)
) -> FolderListing:
    return await services.workspaces.browse(identity, path, show_hidden=hidden)


@get("/api/workspaces/templates")
async def list_templates(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> list[TemplateView]:
    return await services.workspaces.templates(identity)


@post("/api/workspaces")
async def open_workspace(
    data: JSONBody[NewWorkspace], services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> OpenedWorkspace:
    workspace = await services.workspaces.open(identity, data)
    if workspace.is_new:
        services.audit(WorkspaceCreated(target=workspace.path, template=data.template))
    return OpenedWorkspace(path=workspace.path, name=workspace.name, is_new=workspace.is_new)


HANDLERS = [list_workspaces, browse, list_templates, open_workspace]
