"""What is installed, and which models there are."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency

from oqto_platform.config.sections import Server
from oqto_platform.config.sections import Sessions as SessionSettings
from oqto_platform.errors import OqtoError
from oqto_platform.services import Services
from oqto_platform.types import Identity, ModelSource, PluginInfo


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


@get("/api/models")
async def list_models(
    services: NamedDependency[Services], identity: NamedDependency[Identity]
) -> list[SourceView]:
    account = await services.accounts.get(identity.account_id)
    answers = await services.hooks.call.list_models(account)
    return [_source_view(source) for sources in answers.values() for source in sources]


HANDLERS = [features, list_plugins, list_models]


async def _harnesses(services: Services) -> list[HarnessView]:
    try:
        names = (await services.runner.hello()).harnesses
    except OqtoError:
        return []
    return [HarnessView(name=name, title=name.replace("-", " ").capitalize()) for name in names]


def _source_view(source: ModelSource) -> SourceView:
    return SourceView(
        name=source.name, title=source.title, is_demo=source.is_demo, models=list(source.models)
    )
