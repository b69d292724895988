"""`/metrics`: for admins, and for the program that knows `server.metrics_token`."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from oqto_platform.auth.guards import credential, identify
from oqto_platform.config.sections import Server
from oqto_platform.errors import Forbidden, NotSignedIn, OqtoError
from oqto_platform.metrics import hooks
from oqto_platform.metrics.exposition import written
from oqto_platform.services import Services
from oqto_platform.types import Metric

Asked = Request[Any, Any, Any]


@get("/metrics", opt={"public": True})
async def metrics(request: Asked, services: NamedDependency[Services]) -> Response[bytes]:
    """Open to nobody by itself: behind a proxy every address is loopback."""
    await _check(request, services)
    numbers = await request.app.state.meter.together()
    of_plugins = await services.hooks.call.metrics()
    looked_up = await _looked_up(services, numbers.workers)
    looked_up += hooks.metrics(numbers.hooks, await hooks.of_runner_if_up(services))
    accept = request.headers.get("accept", "")
    body, content_type = await asyncio.to_thread(written, numbers, looked_up, of_plugins, accept)
    return Response(body, media_type=content_type)


async def _check(request: Asked, services: Services) -> None:
    token = services.live.current.section("server", Server).metrics_token
    given = credential(request)
    if token and hmac.compare_digest(given.encode(), token.reveal().encode()):
        return
    identity = await identify(request)
    if identity is None:
        raise NotSignedIn("send server.metrics_token as a bearer token, or sign in as an admin")
    if not identity.is_admin:
        raise Forbidden("only an admin may do this")


async def _looked_up(services: Services, workers: int) -> list[Metric]:
    # Not above: the libraries of the database are loaded after the first answer.
    from oqto_platform.sessions.store import Store

    states = {(state,): float(count) for state, count in (await Store(services.db).counted()).items()}
    agents, is_up = await _agents(services)
    return [
        Metric(name="oqto_sessions", kind="gauge", help="Sessions by state.", labels=("state",), samples=states),
        Metric(name="oqto_agents", kind="gauge", help="Agents by what they do.", labels=("state",), samples=agents),
        Metric(name="oqto_runner_up", kind="gauge", help="Whether the runner answers.", samples={(): is_up}),
        Metric(name="oqto_workers", kind="gauge", help="Workers of the server.", samples={(): workers}),
        Metric(
            name="oqto_build_info", kind="gauge", help="The version that runs.", labels=("version", "mode"),
            samples={(services.version, services.mode): 1},
        ),
    ]  # fmt: skip


async def _agents(services: Services) -> tuple[dict[tuple[str, ...], float], float]:
    try:
        statuses = await services.runner.list()
    except OqtoError:
        return {}, 0.0
    found: dict[tuple[str, ...], float] = {}
    for status in statuses.values():
        found[(status.state,)] = found.get((status.state,), 0) + 1
    return found, 1.0


HANDLERS = [metrics]
