"""Rules about routes: under the plugin's prefix, guarded, and those that are public are meant to be."""

from __future__ import annotations

from typing import Any

from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks, PerPlugin
from oqto_platform.testing.inspection import Report
from oqto_platform.testing.inspection.context import InspectedContext


def check(report: Report, hooks: Hooks, context: InspectedContext) -> None:
    """Mount the routes as the house does, and look at what came of it."""
    if not hooks.implements("register_routes"):
        return
    from litestar import Litestar
    from litestar.di import Provide

    from oqto_platform import contributions

    try:
        routers = contributions.routers(hooks, PerPlugin(lambda _name: context))
        given = {name: Provide(_nothing, sync_to_thread=False) for name in contributions.DEPENDENCIES}
        app = Litestar(routers, dependencies=given, openapi_config=None, logging_config=None)
    except OqtoError as exc:
        report.say("routes", exc.detail)
        return
    except Exception as exc:  # noqa: BLE001 (Litestar and handlers may raise anything)
        report.say("routes", f"the routes cannot be mounted: {type(exc).__name__}: {exc}")
        return
    report.public_routes += [path for route in app.routes for path in _public(route)]


def _nothing() -> None:
    """Stands for a dependency: nobody calls the handlers here."""


def _public(route: Any) -> list[str]:
    from oqto_platform import contributions

    opened = [handler for handler in contributions.handlers_of(route) if handler.opt.get("public")]
    return [
        f"{method} {route.path}"
        for handler in opened
        for method in sorted(getattr(handler, "http_methods", ("WS",)))
    ]
