"""What is installed, what it shows, and which models there are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.static_files import create_static_files_router

from oqto_platform.config.sections import Server
from oqto_platform.config.sections import Sessions as SessionSettings
from oqto_platform.errors import OqtoError
from oqto_platform.services import Services
from oqto_platform.types import Identity, ModelSource, Panel, PluginInfo


class HarnessView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What this house offers, so that the UI shows nothing else."""

    version: str
    mode: str
    harnesses: list[HarnessView]
    plugins: list[str]
    auto_attach: str
    auto_attach_scan: bool
    max_upload_size_mb: int


class PanelView(msgspec.Struct, frozen=True, kw_only=True):
    """A custom element; `module` is the URL of the ES module that defines it."""

    plugin: str
    element: str
    module: str
    place: str
    title: str


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A model source as a picker shows it."""

    name: str
    title: str
    is_demo: bool
    models: list[Any]


@get("/api/features")
async def features(services: NamedDependency[Services]) -> Features:
    settings = services.live.current
    sessions = settings.section("sessions", SessionSettings)
    return Features(
        version=services.version,
        mode=services.mode,
        harnesses=await _harnesses(services),
        plugins=[info.name for info in services.hooks.plugins()],
        auto_attach=sessions.auto_attach,
        auto_attach_scan=sessions.auto_attach_scan,
        max_upload_size_mb=settings.section("server", Server).max_upload_size_mb,
    )


@get("/api/plugins")
async def list_plugins(services: NamedDependency[Services]) -> list[PluginInfo]:
    """Plugins of the core and of the own runner."""
    try:
        theirs = (await services.runner.hello()).plugins
    except OqtoError:
        theirs = ()
    return [*services.hooks.plugins(), *theirs]


@get("/api/plugins/panels")
async def list_panels(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> list[PanelView]:
    answers: dict[str, list[Panel]] = services.hooks.register_all("register_panels")
    return [_panel_view(plugin, panel) for plugin, panels in answers.items() for panel in panels if identity.role in panel.roles]  # fmt: skip


@get("/api/models")
async def list_models(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> list[SourceView]:
    account = await services.accounts.get(identity.account_id)
    answers = await services.hooks.call.list_models(account)
    return [_source_view(source) for sources in answers.values() for source in sources]


def plugin_static(plugin: str, module: str) -> Any | None:
    """The router for `/plugins/<plugin>/…`, when the plugin's package has a folder `static`."""
    spec = find_spec(module.partition(".")[0])
    folder = Path(spec.origin).parent / "static" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        return None
    return create_static_files_router(
        path=f"/plugins/{plugin}", directories=[folder], name=f"static-{plugin}"
    )


HANDLERS = [features, list_plugins, list_panels, list_models]


async def _harnesses(services: Services) -> list[HarnessView]:
    try:
        names = (await services.runner.hello()).harnesses
    except OqtoError:
        return []
    return [HarnessView(name=name, title=name.replace("-", " ").capitalize()) for name in names]


def _panel_view(plugin: str, panel: Panel) -> PanelView:
    module = f"/plugins/{plugin}/{panel.module}"
    return PanelView(
        plugin=plugin, element=panel.element, module=module, place=panel.place, title=panel.title
    )


def _source_view(source: ModelSource) -> SourceView:
    return SourceView(
        name=source.name, title=source.title, is_demo=source.is_demo, models=list(source.models)
    )
