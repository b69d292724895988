"""A call whose money is set aside: sent to its provider, relayed, and billed whatever happens."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import msgspec

from . import prices, relay, routing
from .admission import BROKE, output_tokens
from .ask import as_object, decode_ask, understand
from .body import Body
from .demo import DemoReply
from .ledger import Bill
from .meter import CHARACTERS_PER_TOKEN
from .refusals import Refused
from .relay import ERROR
from .upload import Upload
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from .admission import Choice
    from .ask import Ask
    from .body import Whole
    from .exchange import Exchange
    from .prices import Price
    from .routing import Route
    from .upstream import Headers, Reply, Url
    from .wallets import Call

NOTHING = prices.Tokens()
LEFT = 499
"""Status in the row of a call whose client left; never sent."""


ELSEWHERE = frozenset({401, 402, 403, 408, 429, 500, 502, 503, 504, 529})
"""What a provider answers without having worked, and another one may do better."""


FORWARDED = re.compile(
    rb"^(accept|content-type|user-agent|anthropic-.*|openai-beta|idempotency-key|x-stainless-.*|x-session-id|session_id"
    rb"|x-client-request-id|traceparent|tracestate|http-referer|x-title|x-goog-api-client)$"
)


@lru_cache(maxsize=512)
def _is_forwarded(name: bytes) -> bool:
    return FORWARDED.match(name) is not None


def headers_for(asked: dict[bytes, bytes], choice: Choice, route: Route) -> Headers:
    """What a provider gets to see of a client's headers, with its own key."""
    headers = [pair for pair in asked.items() if _is_forwarded(pair[0])]
    headers += [(b"accept-encoding", b"identity"), *choice.provider.auth()]
    if route.dialect == "messages" and not any(name == b"anthropic-version" for name, _ in headers):
        headers.append((b"anthropic-version", b"2023-06-01"))
    return headers


def url_for(query: bytes, choice: Choice, route: Route) -> Url:
    """Where a call goes, with the provider's own name of the model where the path names it, and without the key."""
    if route.dialect == "gemini" and route.model != choice.model:
        verb = route.path.rpartition(":")[2]
        route = replace(route, path=f"models/{quote(choice.model, safe='')}:{verb}")
    return choice.provider.url(route, routing.without_key(query))


class Forwarding:
    """A call whose money is set aside: sent, relayed, and billed whatever happens."""

    _upload: Upload | None = None
    _status = _cost = 0
    _was_sent = _keeps_place = False
    _outcome = "lost"

    def __init__(
        self,
        exchange: Exchange,
        call: Call,
        choice: Choice,
        route: Route,
        ask: Ask,
        body: Body | Whole,
        prompt: int,
    ) -> None:
        self._exchange, self._call, self._choice, self._route = exchange, call, choice, route
        self._provider, self._model, self._price = choice.provider, choice.model, choice.price
        self._ask, self._body, self._prompt_tokens = ask, body, prompt
        self._strips = bool(
            ask.stream and choice.adds_usage and not (ask.stream_options or {}).get("include_usage")
        )
        self._meter = choice.meter()
        self._meter.strips = self._strips

    async def run(self, *, has_next: bool = False) -> bool:
        """
        Send and relay; the bill is written before the reply ends. Answers whether the client has its reply.

        With `has_next` it has none when the provider refused or could not be reached: another may be asked.
        """
        reply: Reply | None = None
        try:
            reply = await self._ask_provider()
            self._status = reply.status
            has_next = has_next and not self._body.is_touched
            if has_next and reply.status in ELSEWHERE:
                self._outcome, self._keeps_place = "refused", True
                return False
            await self._relay(reply)
        except asyncio.CancelledError:
            self._outcome, self._status = (
                ("left", LEFT) if self._exchange.request.has_left else ("shutdown", self._status)
            )
            raise
        except Refused:
            self._outcome = "refused"
            raise
        except UpstreamFailed as exc:
            self._was_sent = exc.was_sent and self._was_sent
            # What may have reached a model is not sent again: it would be paid for twice.
            if not has_next or exc.was_sent:
                raise
            self._keeps_place = True
            return False
        finally:
            if reply is not None:
                reply.close()
            self._bill()
        return True

    async def _ask_provider(self) -> Reply:
        if self._provider.is_demo:
            data = await self._body.whole()
            return DemoReply(data, is_stream=bool(decode_ask(data).stream))
        request, choice = self._exchange.request, self._choice
        headers = headers_for(request.headers, choice, self._route)
        url = url_for(request.query, choice, self._route)
        if isinstance(self._body, Body) and self._body.is_long:
            return await self._send_long(self._body, url, headers)
        body, self._was_sent = self._rewritten(), True
        return await self._exchange.proxy.pool.request("POST", url, headers, body, self._provider.timeouts)

    async def _send_long(self, body: Body, url: Url, headers: Headers) -> Reply:
        renamed = self._ask.model is not None and self._model != self._ask.model
        self._upload = upload = Upload(
            body,
            self._cover,
            model=self._model if renamed else "",
            adds_usage=self._choice.adds_usage,
            drops_options=self._choice.drops_options,
        )
        try:
            return await self._exchange.proxy.pool.request(
                "POST", url, headers, upload, self._provider.timeouts
            )
        finally:
            self._was_sent, self._prompt_tokens = upload.is_complete, upload.prompt.tokens
            self._strips = upload.strips
            self._meter = self._choice.meter()
            self._meter.strips = self._strips

    async def _cover(self, prompt: int, values: dict[str, bytes]) -> None:
        """Set more aside before more of a long body leaves."""
        if self._price.is_free:
            return
        ask = understand(as_object(values))
        needed = self._price.hold_nusd(prompt, output_tokens(ask, self._exchange.proxy.limits))
        if needed > self._call.hold and not await self._exchange.proxy.till.grow(self._call, needed):
            raise Refused(402, "budget_exceeded", BROKE)

    def _rewritten(self) -> bytes:
        """The body as the provider gets it: the same bytes unless a rule must change them."""
        data = self._body.data
        renamed = self._ask.model is not None and self._model != self._ask.model
        drops = self._choice.drops_options and self._ask.stream_options is not None
        if not renamed and not self._strips and not drops:
            return data
        if not renamed and not drops and self._ask.stream_options is None:
            at = data.index(b"{") + 1
            return data[:at] + b'"stream_options":{"include_usage":true},' + data[at:]
        whole = msgspec.json.decode(data)
        if renamed:
            whole["model"] = self._model
        if drops:
            del whole["stream_options"]
        if self._strips:
            whole["stream_options"] = {**(self._ask.stream_options or {}), "include_usage": True}
        return msgspec.json.encode(whole)

    async def _relay(self, reply: Reply) -> None:
        self._body.release()
        names = self._exchange.id, self._provider.name
        headers, kind = relay.begun(reply, *names, may_be_array=self._route.is_stream)
        if kind is not None:
            await self._stream(kind, reply, headers)
            return
        data = await relay.whole(reply)
        if reply.status < ERROR:
            self._meter.whole(data)
        self._outcome = "done" if reply.status < ERROR else "refused"
        await self._bill()
        headers.append((b"x-eavs-cost", b"%d.%09d" % divmod(self._cost, 10**9)))
        self._exchange.request.answer(reply.status, headers, data)

    async def _stream(self, kind: type[relay.Stream], reply: Reply, headers: Headers) -> None:
        request = self._exchange.request
        request.begin(reply.status, [*headers, (b"x-accel-buffering", b"no")])
        stream = kind(reply, self._meter, request, strips=self._strips, written=self._stretch)
        self._outcome = "cut"
        self._outcome = await stream.run(self._route.dialect, self._exchange.id)
        await self._bill()
        request.end()

    def _stretch(self) -> int:
        """
        Set more aside when the reply outgrows the estimate; end it when there is no more.

        Answers for how many bytes of text the money is enough, as far as that was worked out.
        """
        if self._price.is_free:
            return sys.maxsize
        written = round(self._meter.text_bytes / CHARACTERS_PER_TOKEN)
        needed = self._price.hold_nusd(0, written)
        if needed <= self._call.hold:
            return self._meter.text_bytes * self._call.hold // max(needed, 1)
        if not self._exchange.proxy.till.stretch(self._call, 2 * needed):
            raise relay.OutOfMoney("The money set aside for this session is used up, so the reply ends here.")
        return 0

    def _bill(self) -> asyncio.Future[None]:
        if (done := self._call.billed) is not None:
            return done
        till = self._exchange.proxy.till
        return cast(
            "asyncio.Future[None]", till.close(self._call, self._made_bill(), keeps_place=self._keeps_place)
        )

    def _made_bill(self) -> Bill:
        meter, tokens, is_estimated = self._meter, NOTHING, False
        refused = self._status >= ERROR and self._status != LEFT
        # Providers do not bill for errors, nor for what never reached them.
        if not refused and (self._was_sent or self._status not in (0, LEFT)):
            tokens, is_estimated = meter.best(self._prompt_tokens)
            if self._outcome == "done" and meter.tokens is not None and not meter.is_doubtful:
                is_estimated = False
        is_as_asked = not meter.tier and meter.model in ("", self._model)
        price = self._price if is_as_asked else self._final_price()
        self._cost = price.cost_nusd(tokens)
        return Bill(tokens, self._cost, self._outcome, self._status, is_estimated)

    def _final_price(self) -> Price:
        if self._price.is_free:
            return self._price
        answered = self._meter.model or self._model
        return self._provider.price(answered, self._meter.tier, self._call.started_at) or self._price
