"""
The proxy: an ASGI app that lets a call through when its key, its limits and its money allow.

Every path that can reach a provider goes through `Exchange.run`: identify, read, choose, set money aside,
send, relay, bill. Nothing leaves before the pending row is on disk, and the reply ends after the bill is.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from oqto_platform import clock
from oqto_platform.errors import BudgetExceeded, Invalid

from . import prices, refusals, relay, routing
from .demo import DemoReply
from .ledger import Bill, Facts
from .meters import CHARACTERS_PER_TOKEN, NoMeter
from .refusals import Refused
from .store import StoreFailed
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .keys import Key, Keys
    from .ledger import Call, Ledger
    from .meters import Meter
    from .prices import Price
    from .providers import Provider, Registry
    from .routing import Route
    from .upstream import Headers, Pool, Reply

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

log = structlog.get_logger("oqto.eavs")

FORWARDED = re.compile(
    rb"^(accept|content-type|user-agent|anthropic-.*|openai-beta|idempotency-key|x-stainless-.*|x-session-id|session_id"
    rb"|x-client-request-id|traceparent|tracestate|http-referer|x-title|x-goog-api-client)$"
)
IMAGE = re.compile(rb"[A-Za-z0-9+/]{2048,}")
IMAGE_TOKENS = 2_000
LEFT = 499
"""Status in the row of a call whose client left; never sent."""


@dataclass(frozen=True)
class Limits:
    """What the proxy grants: bytes of a body, output tokens set aside per call, calls without a price."""

    max_body: int = 64 * 2**20
    hold_output: int = 8_192
    allow_unpriced: bool = False


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


class Proxy:
    """The ASGI app over one ledger."""

    def __init__(self, *, ledger: Ledger, keys: Keys, registry: Registry, pool: Pool, limits: Limits) -> None:
        self.ledger, self.keys, self.registry, self.pool, self.limits = ledger, keys, registry, pool, limits
        self.is_closing = False
        self.exchanges: set[asyncio.Task[Any]] = set()
        self._ids = (f"req_{secrets.token_hex(5)}{number:x}" for number in itertools.count(1))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "this proxy speaks plain HTTP"})
            return
        if scope["path"] == "/health":
            await _answer(send, 200, [(b"content-type", b"application/json")], b'{"status":"ok"}')
            return
        task = asyncio.current_task()
        assert task is not None
        self.exchanges.add(task)
        try:
            await Exchange(self, scope, receive, send, next(self._ids), task).serve()
        finally:
            self.exchanges.discard(task)

    async def close(self) -> None:
        """Refuse new calls, end the open ones and bill them."""
        self.is_closing = True
        for task in list(self.exchanges):
            task.cancel()
        if self.exchanges:
            await asyncio.wait(self.exchanges, timeout=1.0)
        await self.ledger.drain()
        self.pool.close()


class Exchange:
    """One call."""

    def __init__(
        self,
        proxy: Proxy,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        request_id: str,
        task: asyncio.Task[Any],
    ) -> None:
        self._proxy, self._scope, self._receive, self._send = proxy, scope, receive, send
        self._id, self._task = request_id, task
        self._headers: dict[bytes, bytes] = {name.lower(): value for name, value in scope["headers"]}
        self._dialect = routing.dialect_of(scope["path"])
        self._has_begun = False
        self._leaving: relay.Leaving | None = None

    async def serve(self) -> None:
        """Answer, whatever happens."""
        try:
            await self._run()
        except Refused as exc:
            await self._refuse(exc)
        except BudgetExceeded as exc:
            await self._refuse(Refused(402, "budget_exceeded", exc.detail))
        except Invalid as exc:
            await self._refuse(Refused(503, "provider_misconfigured", exc.detail))
        except StoreFailed as exc:
            await self._refuse(Refused(503, "ledger_unavailable", exc.detail))
        except UpstreamFailed as exc:
            await self._refuse(Refused(504 if exc.is_timeout else 502, "upstream_error", exc.detail))
        except asyncio.CancelledError:
            if self._leaving is None or not self._leaving.has_left:
                await self._refuse(
                    Refused(503, "shutting_down", "The proxy is being restarted.", retry_after_s=1)
                )
        finally:
            if self._leaving is not None:
                self._leaving.stop()

    async def _refuse(self, refused: Refused) -> None:
        if self._has_begun:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        data = refusals.encode(self._dialect, refused, self._id)
        await _answer(self._send, refused.http_status, refusals.headers(refused, self._id), data)

    async def _run(self) -> None:
        if self._proxy.is_closing:
            raise Refused(503, "shutting_down", "The proxy is being restarted.", retry_after_s=1)
        key = self._identify()
        route = routing.route(self._scope["path"], self._proxy.registry.names())
        self._dialect = route.dialect
        self._check_method(route)
        self._check_rate(key)
        if route.action == "models":
            await self._list_models(key, route)
            return
        body = await self._body()
        self._leaving = relay.Leaving(self._receive, self._task)
        ask = _understand(body)
        provider, model = self._choose(key, route, ask)
        price = self._price(provider, model, route)
        hold = self._hold(price, ask, body)
        facts = Facts(key.account, key.workspace, key.id, provider.name, model, route.dialect)
        call = await self._proxy.ledger.open_call(key.wallet, hold, price, facts)
        call.task = self._task
        await Forwarding(self, call, provider, route, ask, model, body).run()

    def _identify(self) -> Key:
        secret = routing.secret_of(self._headers, self._scope["query_string"])
        if not secret:
            raise Refused(
                401, "missing_api_key", "No key came with the request. Oqto gives each session its own."
            )
        if (key := self._proxy.keys.find(secret)) is None:
            raise Refused(401, "invalid_api_key", "This key is unknown, revoked or expired.")
        return key

    def _check_method(self, route: Route) -> None:
        wanted = "GET" if route.action == "models" else "POST"
        if self._scope["method"] != wanted:
            raise Refused(405, "method_not_allowed", f"Use {wanted} for this path.")

    def _check_rate(self, key: Key) -> None:
        if wait := key.wait_s(clock.monotonic()):
            raise Refused(
                429, "rate_limit_exceeded", "Too many calls in a minute for this session.", retry_after_s=wait
            )

    async def _body(self) -> bytes:
        parts, size, limit = [], 0, self._proxy.limits.max_body
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "client_left", "The request was cut off.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > limit:
                raise Refused(413, "request_too_large", f"The body is larger than {limit // 2**20} MiB.")
        return self._decoded(parts[0] if len(parts) == 1 else b"".join(parts))

    def _decoded(self, body: bytes) -> bytes:
        encoding = self._headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"", b"identity"):
            return body
        if encoding not in (b"gzip", b"deflate"):
            raise Refused(415, "unsupported_encoding", "Send the body as it is, or compressed with gzip.")
        unpack, limit = zlib.decompressobj(zlib.MAX_WBITS | 32), self._proxy.limits.max_body
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
        if not key.allows_model(wanted) or (provider.models and wanted not in provider.offered()):
            raise Refused(403, "model_not_allowed", f"The model {wanted} may not be used here.")
        if route.action not in provider.about.actions:
            raise Refused(404, "unsupported_path", f"{provider.name} does not answer {route.path}.")
        return provider, model

    def _provider(self, route: Route, model: str) -> Provider:
        registry = self._proxy.registry
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
        if found is None and not self._proxy.limits.allow_unpriced:
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
            or self._proxy.limits.hold_output
        )
        return price.hold_nusd(
            prompt_tokens(body), min(max(most, 1), self._proxy.limits.hold_output) * max(ask.n or 1, 1)
        )

    async def _list_models(self, key: Key, route: Route) -> None:
        registry = self._proxy.registry
        chosen = [registry.get(route.provider)] if route.provider else list(registry.all())
        names = [
            m for p in chosen if p and key.allows_provider(p.name) for m in p.offered() if key.allows_model(m)
        ]
        if route.model:
            names = [name for name in names if name == route.model]
            if not names:
                raise Refused(404, "model_not_found", f"There is no model {route.model}.")
        value = _models(names, self._headers, self._scope["path"], is_one=bool(route.model))
        await _answer(self._send, 200, [(b"content-type", b"application/json")], msgspec.json.encode(value))

    # What `Forwarding` needs of it.

    @property
    def proxy(self) -> Proxy:
        """The app."""
        return self._proxy

    @property
    def id(self) -> str:
        """The request id, as the client sees it."""
        return self._id

    @property
    def has_left(self) -> bool:
        """Whether the client has gone."""
        return self._leaving is not None and self._leaving.has_left

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of the reply."""
        self._has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def put(self, message: dict[str, Any]) -> None:
        """Send a piece of the reply."""
        await self._send(message)

    def forwarded_headers(self) -> Headers:
        """The client's headers that a provider may see."""
        kept = [(name, value) for name, value in self._headers.items() if FORWARDED.match(name)]
        return [*kept, (b"accept-encoding", b"identity")]

    def query(self) -> str:
        """The query string without the key."""
        return routing.without_key(self._scope["query_string"])


class Forwarding:
    """A call whose money is set aside: sent, relayed, and billed whatever happens."""

    def __init__(
        self,
        exchange: Exchange,
        call: Call,
        provider: Provider,
        route: Route,
        ask: Ask,
        model: str,
        body: bytes,
    ) -> None:
        self._exchange, self._call, self._provider, self._route = exchange, call, provider, route
        self._ask, self._model, self._body = ask, model, body
        self._strips = (
            route.action == "chat"
            and bool(ask.stream)
            and not (ask.stream_options or {}).get("include_usage")
        )
        self._meter: Meter = (
            NoMeter() if route.is_free else routing.METERS[route.action](strip_usage=self._strips)
        )
        self._status = 0
        self._was_sent = False
        self._outcome = "lost"

    async def run(self) -> None:
        """Send and relay; the bill is written before the reply ends."""
        reply: Reply | None = None
        try:
            reply = await self._ask_provider()
            self._status = reply.status
            await self._relay(reply)
        except asyncio.CancelledError:
            self._outcome, self._status = (
                ("left", LEFT) if self._exchange.has_left else ("shutdown", self._status)
            )
            raise
        except UpstreamFailed as exc:
            self._was_sent = exc.was_sent
            raise
        finally:
            if reply is not None:
                reply.close()
            self._bill()

    async def _ask_provider(self) -> Reply:
        body = self._rewritten()
        if self._provider.is_demo:
            return DemoReply(body, is_stream=bool(self._ask.stream))
        headers = [*self._exchange.forwarded_headers(), *self._provider.auth()]
        if self._route.dialect == "messages" and not any(name == b"anthropic-version" for name, _ in headers):
            headers.append((b"anthropic-version", b"2023-06-01"))
        url = self._provider.url(self._route, self._exchange.query())
        self._was_sent = True
        return await self._exchange.proxy.pool.request("POST", url, headers, body)

    def _rewritten(self) -> bytes:
        """The body as the provider gets it: the same bytes unless a rule must change them."""
        renamed = self._ask.model is not None and self._model != self._ask.model
        if not renamed and not self._strips:
            return self._body
        if not renamed and self._ask.stream_options is None:
            at = self._body.index(b"{") + 1
            return self._body[:at] + b'"stream_options":{"include_usage":true},' + self._body[at:]
        whole = msgspec.json.decode(self._body)
        whole["model"] = self._model
        if self._strips:
            whole["stream_options"] = {**(self._ask.stream_options or {}), "include_usage": True}
        return msgspec.json.encode(whole)

    async def _relay(self, reply: Reply) -> None:
        headers = relay.passed_on(reply.headers, self._exchange.id.encode())
        if relay.is_event_stream(reply) and reply.status < 400:  # noqa: PLR2004 the first error status
            await self._stream(reply, headers)
            return
        data = await relay.whole(reply)
        if reply.status < 400:  # noqa: PLR2004 the first error status
            self._meter.whole(data)
        self._outcome = "done" if reply.status < 400 else "refused"  # noqa: PLR2004 the first error status
        await asyncio.shield(self._bill())
        await self._exchange.begin(reply.status, [*headers, (b"content-length", b"%d" % len(data))])
        await self._exchange.put({"type": "http.response.body", "body": data, "more_body": False})

    async def _stream(self, reply: Reply, headers: Headers) -> None:
        await self._exchange.begin(reply.status, [*headers, (b"x-accel-buffering", b"no")])
        stream = relay.Stream(
            reply, self._meter, self._exchange.put, strips=self._strips, written=self._stretch
        )
        self._outcome = "cut"
        self._outcome = await stream.run(self._route.dialect, self._exchange.id)
        await asyncio.shield(self._bill())
        await self._exchange.put({"type": "http.response.body", "body": b"", "more_body": False})

    def _stretch(self) -> None:
        """Set more aside when the reply outgrows the estimate; end it when there is no more."""
        written = round(self._meter.text_bytes / CHARACTERS_PER_TOKEN)
        if self._call.price.is_free or (needed := self._call.price.hold_nusd(0, written)) <= self._call.hold:
            return
        if not self._exchange.proxy.ledger.stretch(self._call, 2 * needed):
            raise relay.OutOfMoney("The money set aside for this session is used up, so the reply ends here.")

    def _bill(self) -> asyncio.Future[None]:
        if (done := self._call.billed) is not None:
            return done
        tokens, is_estimated = self._counts()
        price = self._final_price()
        bill = Bill(tokens, price.cost_nusd(tokens), self._outcome, self._status, is_estimated)
        return self._exchange.proxy.ledger.close_call(self._call, bill)

    def _counts(self) -> tuple[prices.Tokens, bool]:
        refused = self._status >= 400 and self._status != LEFT  # noqa: PLR2004 the first error status
        if refused or (not self._was_sent and self._status == 0):
            return prices.Tokens(), False  # providers do not bill for errors, nor for what never reached them
        tokens, is_estimated = self._meter.best(prompt_tokens(self._body))
        return tokens, is_estimated and not (self._outcome == "done" and self._meter.tokens is not None)

    def _final_price(self) -> Price:
        if self._route.is_free or self._call.price.is_free:
            return self._call.price
        answered = self._meter.model or self._model
        return self._provider.price(answered, self._meter.tier, self._call.started_at) or self._call.price


def prompt_tokens(body: bytes) -> int:
    """An upper estimate of a prompt from its bytes; an inline image counts as one, not by its length."""
    if len(body) < 16_384 or len(images := IMAGE.findall(body)) == 0:  # noqa: PLR2004 no picture is that small
        return round(len(body) / CHARACTERS_PER_TOKEN) + 1
    text = len(body) - sum(map(len, images))
    return round(text / CHARACTERS_PER_TOKEN) + IMAGE_TOKENS * len(images) + 1


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


async def _answer(send: Send, status: int, headers: Headers, data: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(data))],
        }
    )
    await send({"type": "http.response.body", "body": data, "more_body": False})
