"""
One call through the proxy: identify, read, choose, set money aside, hand on.

Nothing leaves before the pending row is on disk, and the reply ends after the bill is.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform import clock
from oqto_platform.errors import BudgetExceeded, Invalid

from . import forwarding, prices, refusals, routing
from .ledger import Facts
from .refusals import Refused
from .store import StoreFailed
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from .keys import Key
    from .prices import Price
    from .providers import Provider
    from .proxy import Proxy
    from .routing import Route
    from .server import Request
    from .upstream import Headers

JSON: Headers = [(b"content-type", b"application/json")]
FORWARDED = re.compile(
    rb"^(accept|content-type|user-agent|anthropic-.*|openai-beta|idempotency-key|x-stainless-.*|x-session-id|session_id"
    rb"|x-client-request-id|traceparent|tracestate|http-referer|x-title|x-goog-api-client)$"
)


class Ask(msgspec.Struct):
    """What the proxy reads of a request; the rest passes unread."""

    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    stream_options: dict[str, Any] | None = None
    service_tier: str | None = None
    n: int | None = None


decode_ask = msgspec.json.Decoder(Ask).decode


class Exchange:
    """One call."""

    def __init__(self, proxy: Proxy, request: Request, identity: str) -> None:
        self.proxy, self.request, self.id = proxy, request, identity
        self._dialect = routing.dialect_of(request.path)

    async def serve(self) -> None:
        """Answer, whatever happens."""
        try:
            await self._run()
        except Refused as exc:
            self._refuse(exc)
        except BudgetExceeded as exc:
            self._refuse(Refused(402, "budget_exceeded", exc.detail))
        except Invalid as exc:
            self._refuse(Refused(503, "provider_misconfigured", exc.detail))
        except StoreFailed as exc:
            self._refuse(Refused(503, "ledger_unavailable", exc.detail))
        except UpstreamFailed as exc:
            self._refuse(Refused(504 if exc.is_timeout else 502, "upstream_error", exc.detail))
        except asyncio.CancelledError:
            if not self.request.has_left:
                self._refuse(Refused(503, "shutting_down", "The proxy is being restarted.", retry_after_s=1))

    def _refuse(self, refused: Refused) -> None:
        if self.request.has_begun:
            return  # the server cuts a reply that did not end
        data = refusals.encode(self._dialect, refused, self.id)
        self.request.answer(refused.http_status, refusals.headers(refused, self.id), data)

    async def _run(self) -> None:
        if self.proxy.is_closing:
            raise Refused(503, "shutting_down", "The proxy is being restarted.", retry_after_s=1)
        key = self._identify()
        route = routing.route(self.request.path, self.proxy.registry.names())
        self._dialect = route.dialect
        self._check_method(route)
        self._check_rate(key)
        if route.action == "models":
            self._list_models(key, route)
            return
        body = await self._body()
        ask = _understand(body)
        provider, model = self._choose(key, route, ask)
        price = self._price(provider, model, route)
        hold = self._hold(price, ask, body)
        facts = Facts(key.account, key.workspace, key.id, provider.name, model, route.dialect)
        call = await self.proxy.ledger.open_call(self.id, key.wallet, hold, price, facts)
        call.task = self.request.task
        await forwarding.Forwarding(self, call, provider, route, ask, model, body).run()

    def _identify(self) -> Key:
        secret = routing.secret_of(self.request.headers, self.request.query)
        if not secret:
            raise Refused(
                401, "missing_api_key", "No key came with the request. Oqto gives each session its own."
            )
        if (key := self.proxy.keys.find(secret)) is None:
            raise Refused(401, "invalid_api_key", "This key is unknown, revoked or expired.")
        return key

    def _check_method(self, route: Route) -> None:
        wanted = "GET" if route.action == "models" else "POST"
        if self.request.method != wanted:
            raise Refused(405, "method_not_allowed", f"Use {wanted} for this path.")

    def _check_rate(self, key: Key) -> None:
        if wait := key.wait_s(clock.monotonic()):
            raise Refused(
                429, "rate_limit_exceeded", "Too many calls in a minute for this session.", retry_after_s=wait
            )

    async def _body(self) -> bytes:
        parts, size, limit = [], 0, self.proxy.limits.max_body
        while (part := await self.request.chunk()) is not None:
            parts.append(part)
            size += len(part)
            if size > limit:
                raise Refused(413, "request_too_large", f"The body is larger than {limit // 2**20} MiB.")
        return self._decoded(parts[0] if len(parts) == 1 else b"".join(parts))

    def _decoded(self, body: bytes) -> bytes:
        encoding = self.request.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"", b"identity"):
            return body
        if encoding not in (b"gzip", b"deflate"):
            raise Refused(415, "unsupported_encoding", "Send the body as it is, or compressed with gzip.")
        unpack, limit = zlib.decompressobj(zlib.MAX_WBITS | 32), self.proxy.limits.max_body
        try:
            plain = unpack.decompress(body, limit)
        except zlib.error as exc:
            raise Refused(
                400, "invalid_encoding", f"The body is not valid {encoding.decode()}: {exc}."
            ) from exc
        if unpack.unconsumed_tail:
            raise Refused(413, "request_too_large", f"The body is larger than {limit // 2**20} MiB.")
        return plain

    def _choose(self, key: Key, route: Route, ask: Ask) -> tuple[Provider, str]:
        wanted = route.model or ask.model
        if not wanted:
            raise Refused(400, "missing_model", 'The request names no model. Add "model".')
        provider = self._provider(route, wanted)
        model = provider.aliases.get(wanted, wanted)
        if not key.allows_provider(provider.name):
            raise Refused(403, "provider_not_allowed", f"This key may not use the provider {provider.name}.")
        if not key.allows_model(wanted) or not provider.offers(wanted):
            raise Refused(403, "model_not_allowed", f"The model {wanted} may not be used here.")
        if route.action not in provider.about.actions:
            raise Refused(404, "unsupported_path", f"{provider.name} does not answer {route.path}.")
        return provider, model

    def _provider(self, route: Route, model: str) -> Provider:
        registry = self.proxy.registry
        found = registry.get(route.provider) if route.provider else registry.with_model(model)
        if found is None and route.provider:
            raise Refused(404, "unknown_provider", f"There is no provider {route.provider}.")
        if found is None:
            raise Refused(404, "model_not_found", f"No provider offers the model {model}.")
        return found

    def _price(self, provider: Provider, model: str, route: Route) -> Price:
        if route.is_free:
            return prices.FREE
        found = provider.price(model)
        if found is None and not self.proxy.limits.allow_unpriced:
            text = f"The model {model} has no known price at {provider.name}, so it cannot be billed. Set one under"
            raise Refused(
                403, "unpriced_model", f"{text} [eavs.providers.{provider.name}.prices], or allow_unpriced."
            )
        return found or prices.FREE

    def _hold(self, price: Price, ask: Ask, body: bytes) -> int:
        if price.is_free:
            return 0
        most = (
            ask.max_completion_tokens
            or ask.max_output_tokens
            or ask.max_tokens
            or self.proxy.limits.hold_output
        )
        return price.hold_nusd(
            forwarding.prompt_tokens(body),
            min(max(most, 1), self.proxy.limits.hold_output) * max(ask.n or 1, 1),
        )

    def _list_models(self, key: Key, route: Route) -> None:
        registry = self.proxy.registry
        chosen = [registry.get(route.provider)] if route.provider else list(registry.all())
        names = [
            m for p in chosen if p and key.allows_provider(p.name) for m in p.offered() if key.allows_model(m)
        ]
        if route.model:
            names = [name for name in names if name == route.model]
            if not names:
                raise Refused(404, "model_not_found", f"There is no model {route.model}.")
        value = _models(names, self.request.headers, self.request.path, is_one=bool(route.model))
        self.request.answer(200, JSON, msgspec.json.encode(value))

    def forwarded_headers(self) -> Headers:
        """The client's headers that a provider may see."""
        kept = [(name, value) for name, value in self.request.headers.items() if FORWARDED.match(name)]
        return [*kept, (b"accept-encoding", b"identity")]

    def query(self) -> str:
        """The query string without the key."""
        return routing.without_key(self.request.query)


def _understand(body: bytes) -> Ask:
    try:
        return decode_ask(body)
    except msgspec.ValidationError as exc:
        raise Refused(400, "invalid_request", f"The request is not what this path takes: {exc}.") from exc
    except msgspec.DecodeError as exc:
        raise Refused(400, "invalid_json", f"The body is not JSON: {exc}.") from exc


def _models(names: list[str], headers: dict[bytes, bytes], path: str, *, is_one: bool) -> dict[str, Any]:
    if b"anthropic-version" in headers:
        rows: list[dict[str, Any]] = [{"type": "model", "id": name, "display_name": name} for name in names]
        page = {
            "data": rows,
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    elif "v1beta" in path:
        rows = [{"name": f"models/{name}", "displayName": name} for name in names]
        page = {"models": rows}
    else:
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "oqto"} for name in names]
        page = {"object": "list", "data": rows}
    return rows[0] if is_one else page
