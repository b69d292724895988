"""The composition root: `granian oqto_platform.app`."""

from __future__ import annotations

# Before the long imports: a signal may come while they run.
from oqto_platform import slim, worker  # isort: skip

worker.prepare()

with slim.without("colorama", "greenlet", "rich"):
    import structlog as _structlog  # noqa: F401 (loaded here, where its companions are out of reach)

# Litestar has a debugger for terminals (0.5 MB), and escapes HTML, which brings the names of all entities (0.4 MB).
with slim.own_copy("html"), slim.hollow("html.entities", "pdb", "yaml"), slim.litestar_without_openapi():
    import litestar as _litestar  # noqa: F401
    import litestar.exceptions.responses as _responses  # noqa: F401 (an application loads it while it is made)

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.plugins.core import MsgspecDIPlugin

from oqto_platform import contributions, health, problems
from oqto_platform.accounts import routes as accounts
from oqto_platform.admin import audit, plugins, settings
from oqto_platform.admin import routes as admin
from oqto_platform.auth.guards import Gate, signed_in
from oqto_platform.config.sections import Auth, Server
from oqto_platform.errors import OqtoError
from oqto_platform.extensions import routes as extensions
from oqto_platform.hooks import PerPlugin
from oqto_platform.house import House
from oqto_platform.metrics import routes as metrics
from oqto_platform.metrics.meter import Meter
from oqto_platform.mux.socket import mux
from oqto_platform.opening import Opening
from oqto_platform.panels import routes as panels
from oqto_platform.rsgi import RSGIMixin
from oqto_platform.services import Services
from oqto_platform.sessions import routes as sessions
from oqto_platform.types import Identity
from oqto_platform.web import ROUTED, WebUI
from oqto_platform.workspaces import routes as workspaces

MODULES: tuple[Any, ...] = (
    health, accounts, workspaces, sessions, extensions, panels, admin, plugins, audit, metrics, settings,
)  # fmt: skip


class Oqto(RSGIMixin, Litestar):
    """
    Litestar that also answers Granian's native interface, from the first moment on.

    The gate stands before everything. What is no route of ours is the web UI's: decided here, because a
    mount at `/` would win over every route with a parameter.
    """

    gate: Gate
    ui: WebUI
    opening: Opening

    @staticmethod
    def _patch_opentelemetry_middleware(config: Any) -> Any:
        """Litestar looks for its own tracing here and loads OpenTelemetry where that is installed; ours is `tracing`."""
        return config

    @staticmethod
    def _get_default_plugins(plugins: list[Any]) -> list[Any]:
        """Litestar's own, without those for pydantic models: they load pydantic.v1 (2 MB, 35 ms) for nothing."""
        return [*plugins, MsgspecDIPlugin()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._asgi_lifespan(receive, send)
        else:
            scope.setdefault("state", {})
            await self.gate(scope, receive, send)

    async def inner(self, scope: Any, receive: Any, send: Any) -> None:
        """What the gate lets in; all but the page and the health waits until the worker is open."""
        path = scope["path"]
        if scope["type"] == "http" and not path.startswith(ROUTED):
            await self.ui(scope, receive, send)
            return
        if path not in health.PATHS:
            await self.opening.wait()
        await super().__call__(scope, receive, send)

    async def _asgi_lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        async with self.lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Answer at once, and open behind it."""
        self.opening = self.state.opening = Opening(super().lifespan)
        try:
            yield
        finally:
            await self.opening.end()


def build(house: House) -> Oqto:
    """The application of one worker."""

    def provide_services() -> Services:
        return house.services

    ours = [handler for module in MODULES for handler in module.HANDLERS]
    app = Oqto(
        [
            *ours,
            mux,
            *contributions.routers(house.hooks, PerPlugin(house.context)),
            *panels.statics(house.panels.folders()),
        ],
        guards=[signed_in],
        dependencies={
            "services": Provide(provide_services, sync_to_thread=False),
            "identity": Provide(_identity, sync_to_thread=False),
        },
        exception_handlers=problems.HANDLERS,
        after_exception=[problems.note],
        lifespan=[house.lifespan, Meter(house).lifespan],
        request_max_body_size=None,  # the gate looks, because the limit may change while we run
        openapi_config=None,
        logging_config=None,
    )
    app.gate = Gate(app.inner, _origins(house), _max_body_mb(house), loopback_only=house.is_personal)
    app.ui = WebUI()
    app.state.house = house
    house.app = app
    return app


def _identity(request: Request[Any, Any, Any]) -> Identity:
    user: Identity = request.user
    return user


def _max_body_mb(house: House) -> Any:
    return lambda: house.live.current.section("server", Server).max_upload_size_mb


def _origins(house: House) -> Any:
    return lambda: house.live.current.section("auth", Auth).allowed_origins


def _build_or_exit() -> Oqto:
    """A wrong configuration or plugin ends the worker with one sentence, not with a traceback."""
    try:
        return build(House())
    except OqtoError as exc:
        raise SystemExit(f"oqto: {exc.detail}") from None


app = _build_or_exit()
