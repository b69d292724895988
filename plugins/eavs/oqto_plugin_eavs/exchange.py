"""
One call through the proxy: identify, read, choose, set money aside, hand on.

Nothing leaves before the pending row is on disk, and the reply ends after the bill is in the journal.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform.errors import Invalid

from . import admission, forwarding, refusals, routing
from .ask import understand
from .conversation import Conversation
from .refusals import Refused
from .tables import StoreFailed
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from oqto_platform.errors import OqtoError

    from .admission import Choice
    from .ask import Ask
    from .body import Body
    from .keys import Key
    from .proxy import Proxy
    from .routing import Route
    from .server import Request
    from .upstream import Headers
    from .wallets import Call

JSON: Headers = [(b"content-type", b"application/json")]
FAILURES = (Refused, Invalid, StoreFailed, UpstreamFailed)


class Exchange(msgspec.Struct, eq=False):
    """One call."""

    proxy: Proxy
    request: Request
    id: str
    dialect: refusals.Dialect | None = None

    async def serve(self) -> None:
        """Answer, whatever happens."""
        await self.guard(self._run())

    async def guard(self, work: Awaitable[object]) -> None:
        """Do a part of it; what it raises is the answer."""
        try:
            await work
        except FAILURES as exc:
            self.refuse(exc)
        except asyncio.CancelledError:
            if not self.request.has_left:
                self.refuse(restarting())

    def refuse(self, failure: OqtoError) -> None:
        """Answer that it went wrong, if nothing has been answered yet."""
        refused = _refusal(failure)
        self.proxy.till.refused(refused.reason)
        if self.request.has_begun:
            return  # the server cuts a reply that did not end
        dialect = self.dialect or routing.dialect_of(self.request.path)
        data = refusals.encode(dialect, refused, self.id)
        self.request.answer(refused.http_status, refusals.headers(refused, self.id), data)

    async def _run(self) -> None:
        if self.proxy.is_closing:
            raise restarting()
        key = await self.proxy.till.find(routing.secret_of(self.request.headers, self.request.query))
        route = routing.route(self.request.path, self.proxy.registry.names)
        self.dialect = route.dialect
        self._check_method(route)
        await self.proxy.till.look(key, takes=route.action == "models")
        if route.action == "models":
            self._list_models(key, route)
            return
        if self.request.method == "GET":
            await Conversation(self, key, route).run()
            return
        limit, needs_model = self.proxy.limits.max_body, not route.model
        body = await self.proxy.bodies.read(self.request, limit, needs_model=needs_model)
        try:
            ask = understand(body.asked)
            wanted = route.model or ask.model or ""
            proxy = self.proxy
            choices = proxy.choices.of(key, route, wanted, proxy.registry, proxy.limits)
            await self._try(key, route, ask, body, choices)
        finally:
            body.release()

    async def _try(self, key: Key, route: Route, ask: Ask, body: Body, choices: list[Choice]) -> None:
        """One choice after the other, each with money of its own, until one has answered."""
        tokens = body.tokens
        output = admission.output_tokens(ask, self.proxy.limits)
        call: Call | None = None
        for number, choice in enumerate(choices, start=1):
            identity = self.id if number == 1 else f"{self.id}-{number}"
            hold = 0 if choice.price.is_free else choice.price.hold_nusd(tokens, output)
            opening = admission.Opening(identity, key, choice, route.dialect, hold, tokens, call)
            call = await self.proxy.till.open(opening)
            call.task = self.request.task
            forward = forwarding.Forwarding(self, call, choice, route, ask, body, tokens)
            if await forward.run(has_next=number < len(choices)):
                return

    def _check_method(self, route: Route) -> None:
        wanted = "GET" if route.action == "models" else "POST"
        if self.request.method == wanted and route.action != "realtime":
            return
        if self.request.is_websocket and route.action in ("responses", "realtime"):
            return
        if route.action == "realtime":
            raise Refused(426, "upgrade_required", "Connect to this path with a WebSocket.")
        if self.request.method != wanted:
            raise Refused(405, "method_not_allowed", f"Use {wanted} for this path.")

    def _list_models(self, key: Key, route: Route) -> None:
        registry = self.proxy.registry
        chosen = [registry.get(route.provider)] if route.provider else list(registry.all())
        names = [
            m
            for p in chosen
            if p and key.grants.allows_provider(p.name)
            for m in p.offered()
            if key.grants.allows_model(m, p.aliases.get(m, m))
        ]
        if route.model:
            names = [name for name in names if name == route.model]
            if not names:
                raise Refused(404, "model_not_found", f"There is no model {route.model}.")
        value = _models(names, self.request.headers, self.request.path, is_one=bool(route.model))
        self.request.answer(200, JSON, msgspec.json.encode(value))


def restarting() -> Refused:
    """What a call is told that comes too late."""
    return Refused(503, "shutting_down", "The proxy is being restarted.", retry_after_s=1)


def _refusal(failure: OqtoError) -> Refused:
    match failure:
        case Refused():
            return failure
        case StoreFailed():
            return Refused(503, "ledger_unavailable", failure.detail)
        case UpstreamFailed():
            return Refused(504 if failure.is_timeout else 502, "upstream_error", failure.detail)
    return Refused(503, "provider_misconfigured", failure.detail)


def _models(names: list[str], headers: dict[bytes, bytes], path: str, *, is_one: bool) -> dict[str, Any]:
    if b"anthropic-version" in headers:
        rows: list[dict[str, Any]] = [{"type": "model", "id": name, "display_name": name} for name in names]
        page = {
            "data": rows,
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    elif "v1beta" in path or b"x-goog-api-key" in headers:
        able = {"supportedGenerationMethods": ["generateContent", "countTokens"]}
        rows = [{"name": f"models/{name}", "displayName": name, **able} for name in names]
        page = {"models": rows}
    else:
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "oqto"} for name in names]
        page = {"object": "list", "data": rows}
    return rows[0] if is_one else page
