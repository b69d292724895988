"""`/metrics`: for admins, and for the program that knows `server.metrics_token`."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from oqto_platform.auth.guards import credential, identify
from oqto_platform.config.sections import Server
from oqto_platform.errors import Forbidden, NotSignedIn, OqtoError
from oqto_platform.metrics.counts import counts
from oqto_platform.metrics.exposition import written
from oqto_platform.metrics.shared import Shared
from oqto_platform.services import Services
from oqto_platform.types import Metric

if TYPE_CHECKING:
    from oqto_platform.house import House

Asked = Request[Any, Any, Any]


class Meter:
    """One worker among the others: leaves its numbers, and reads theirs."""

    shared: Shared

    def __init__(self, house: House) -> None:
        self._house = house

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Leave numbers for the other workers for as long as this one lives."""
        self.shared = app.state.shared_numbers = Shared(
            self._house.state_dir / "metrics", counts, self._tallies
        )
        publishing = asyncio.create_task(self.shared.publish())
        try:
            yield
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            self.shared.close()

    def _tallies(self) -> None:
        """The dispatcher counts for itself."""
        for labels, tally in self._house.hooks.tallies().items():
            if tally.calls:
                counts.values["oqto_hook_calls"][labels] = tally.calls
                counts.values["oqto_hook_failures"][labels] = tally.failures
                counts.values["oqto_hook_seconds"][labels] = tally.seconds


@get("/metrics", opt={"public": True})
async def metrics(request: Asked, services: NamedDependency[Services]) -> Response[bytes]:
    """Open to nobody by itself: behind a proxy every address is loopback."""
    await _check(request, services)
    shared = request.app.state.shared_numbers
    numbers = await asyncio.to_thread(shared.together, shared.take())
    of_plugins = await services.hooks.call.metrics()
    looked_up = await _looked_up(services, numbers.workers)
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
