"""
The straight way of a call: looked at, money set aside, sent, relayed, billed, each step a callback of the one before.

It takes what most calls are: one provider that may answer, a body that is there, a kept connection. Such a call needs
no task, which would cost more than all the rest of it (ADR 0010). Before money is set aside it takes a call or leaves
it to a task, which then finds the words for a refusal. After that it still gives a call to a task when it must dial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from oqto_platform import clock
from oqto_platform.errors import OqtoError

from . import relay, routing
from .admission import PRICES_S, facts_of, output_tokens
from .ask import understand
from .body import PLAIN, Whole
from .estimate import prompt_tokens
from .exchange import Exchange, restarting
from .forwarding import LEFT, Forwarding, headers_for, url_for
from .ledger import TooFast
from .providers import is_fixed
from .refusals import Refused
from .relay import ERROR
from .reply import UpstreamFailed
from .upstream import head_of

if TYPE_CHECKING:
    from .admission import Choice
    from .ask import Ask
    from .connection import Connection
    from .head import Head
    from .keys import Key, Keys
    from .ledger import Bounds, Facts, Ledger
    from .proxy import Proxy
    from .reply import Headers
    from .request import Request
    from .routing import Route
    from .store import Told
    from .tables import StoreFailed
    from .upstream import Url
    from .wallets import Call

log = structlog.get_logger("oqto.eavs")


class Plan(msgspec.Struct, frozen=True, eq=False):
    """All that is the same for calls with one head and one model. `is_verbatim`: bodies go on as they came."""

    key: Key
    bounds: Bounds
    route: Route
    choice: Choice
    facts: Facts
    is_verbatim: bool
    url: Url
    before_length: bytes
    after_length: bytes

    def head(self, length: int) -> bytes:
        """How the request to the provider begins."""
        return b"%b%d%b" % (self.before_length, length, self.after_length)


class Express:
    """Takes the calls that can go straight."""

    def __init__(self, proxy: Proxy, keys: Keys, ledger: Ledger) -> None:
        self._proxy, self._keys, self._ledger = proxy, keys, ledger

    def take(self, request: Request) -> bool:
        """Serve a request; `False`, and nothing done, when that is for a task."""
        data, proxy, now = request.whole, self._proxy, clock.now()
        if data is None or len(data) > proxy.limits.max_body or proxy.is_closing:
            return False
        try:
            ask = understand(data)
            if (plan := self._plan(request.head, ask.model or "", now)) is None:
                return False
            tokens, wallet, identity = prompt_tokens(data), plan.key.wallet, proxy.new_id()
            hold = plan.choice.price.hold_nusd(tokens, output_tokens(ask, proxy.limits))
            call = self._ledger.set_aside(identity, wallet, hold, plan.facts, now, plan.bounds, tokens=tokens)
        except (OqtoError, TooFast):
            return False
        exchange = Exchange(proxy, request, identity, plan.route.dialect)
        ride = Ride(exchange, self._ledger, call, plan, ask, Whole(data), tokens)
        request.task = call.task = ride
        proxy.rides.add(ride)
        self._ledger.note_open(call, ride.start)
        return True

    def _plan(self, head: Head, model: str, now: float) -> Plan | None:
        proxy = self._proxy
        as_of = (proxy.registry.version, proxy.limits, now // PRICES_S, self._ledger.layout)
        if as_of != head.plans_at:
            head.plans, head.plans_at = {}, as_of
        if (key := self._keys.by_hash(head.key_hash)) is None:
            return None
        if model not in head.plans:
            head.plans[model] = self._new_plan(head, model, key)
        plan: Plan | None = head.plans[model]
        return plan if plan is not None and plan.key is key else None

    def _new_plan(self, head: Head, model: str, key: Key) -> Plan | None:
        proxy, route = self._proxy, routing.route(head.path, self._proxy.registry.names)
        if head.method != "POST" or head.headers.get(b"content-encoding", b"") not in PLAIN:
            return None
        if route.action in ("models", "realtime"):
            return None
        first, *others = proxy.choices.of(key, route, route.model or model, proxy.registry, proxy.limits)
        if others or first.provider.is_demo or not is_fixed(first.provider.api_key):
            return None
        url = url_for(head.query, first, route)
        begin = b"POST" + url.first_lines + b"content-length: "
        rest = head_of("POST", url, headers_for(head.headers, first, route), 0)[len(begin) + 1 :]
        bounds, facts = self._ledger.bounds_on(key.wallet, key.flow), facts_of(key, first, route.dialect)
        is_verbatim = not first.drops_options and model in ("", first.model)
        return Plan(key, bounds, route, first, facts, is_verbatim, url, begin, rest)


class Ride(Forwarding):
    """A call on the straight way. Its row is written; `start` is told when that is on the disk."""

    _reply: Connection | None = None
    _stream_on: relay.Stream | None = None
    _headers: Headers = []  # noqa: RUF012 replaced, never changed
    _is_over = False

    def __init__(
        self, exchange: Exchange, ledger: Ledger, call: Call, plan: Plan, ask: Ask, body: Whole, tokens: int
    ) -> None:
        super().__init__(exchange, call, plan.choice, plan.route, ask, body, tokens)
        self._ledger, self._plan = ledger, plan
        self._parts: list[bytes] = []

    def start(self, error: StoreFailed | None) -> None:
        """Send it."""
        if self._is_over:
            return  # its client has left meanwhile
        if error is not None:
            self._outcome = "refused"
            self._give_up(error)
            return
        self._reply = reply = self._exchange.proxy.pool.kept(self._plan.url)
        if reply is None:
            self._hand_over()
            return
        try:
            as_it_came = self._plan.is_verbatim and not self._strips
            body, self._was_sent = self._body.data if as_it_came else self._rewritten(), True
            reply.send(self._plan.head(len(body)), body, self._provider.timeouts, self)
        except Exception as exc:  # noqa: BLE001 a bug ends this call and no other
            self._fail(exc)

    def _hand_over(self) -> None:
        """Let a task go on."""
        proxy, exchange = self._exchange.proxy, self._exchange
        self._is_over = True
        proxy.rides.discard(self)
        self._call.task = task = exchange.request.serve(exchange.guard(self.run()))
        proxy.exchanges.add(task)
        task.add_done_callback(proxy.exchanges.discard)

    # What the provider's connection tells.

    def heard(self) -> None:
        """More of the reply has come."""
        reply = self._reply
        assert reply is not None
        try:
            if not self._status:
                self._begin(reply)
            elif self._stream_on is None and not reply.is_done:
                self._parts.append(reply.take())
            if reply.is_done and not self._is_over:
                self._complete(reply)
        except Exception as exc:  # noqa: BLE001 a bug ends this call and no other
            self._fail(exc)

    def failed(self, error: Exception) -> None:
        """The provider's connection broke, or what was set aside is used up."""
        if self._is_over:
            return
        assert self._reply is not None
        if self._stream_on is not None and isinstance(error, (UpstreamFailed, relay.OutOfMoney)):
            self._outcome = self._stream_on.broken(error, self._route.dialect, self._exchange.id)
            self._end(self._reply, self._end_stream)
        elif not isinstance(error, UpstreamFailed):
            self._fail(error)
        elif self._reply.may_be_stale:
            self._hand_over()
        else:
            self._was_sent = error.was_sent
            self._give_up(error)

    def _begin(self, reply: Connection) -> None:
        self._status, exchange = reply.status, self._exchange
        names = exchange.id, self._provider.name
        self._headers, kind = relay.begun(reply, *names, may_be_array=self._route.is_stream)
        if kind is None:
            return
        self._outcome = "cut"
        exchange.request.begin(reply.status, [*self._headers, (b"x-accel-buffering", b"no")])
        self._stream_on = stream = kind(
            reply, self._meter, exchange.request, strips=self._strips, written=self._stretch
        )
        reply.pour(stream.take, exchange.request, relay.QUIET_S, stream.take_chunk)

    def _complete(self, reply: Connection) -> None:
        if self._stream_on is not None:
            self._outcome = self._stream_on.ended()
            self._end(reply, self._end_stream)
            return
        self._parts.append(reply.take())
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._status < ERROR:
            self._meter.whole(data)
        self._outcome = "done" if self._status < ERROR else "refused"
        self._parts = [data]
        self._end(reply, self._answer)

    # The end.

    def _end(self, reply: Connection | None, told: Told) -> None:
        """Bill it; `told` ends the reply when the bill is safe."""
        self._is_over, request = True, self._exchange.request
        self._exchange.proxy.rides.discard(self)
        if reply is not None:
            reply.close()
        # What refers to each other in a circle would stay until the next collection of garbage.
        request.on_full = request.task = self._call.task = self._stream_on = self._reply = None
        self._ledger.note_bill(self._call, self._made_bill(), told)

    def _answer(self, _: StoreFailed | None) -> None:
        request = self._exchange.request
        self._headers.append((b"x-eavs-cost", b"%d.%09d" % divmod(self._cost, 10**9)))
        request.answer(self._status, self._headers, self._parts[0])
        request.finish()

    def _end_stream(self, _: StoreFailed | None) -> None:
        self._exchange.request.end()
        self._exchange.request.finish()

    def cancel(self) -> None:
        """End it from outside: its client has left, or the proxy stops."""
        if self._is_over:
            return
        has_left = self._exchange.request.has_left
        if not self._was_sent:
            self._outcome = "refused"
        elif has_left:
            self._outcome, self._status = "left", LEFT
        else:
            self._outcome = "shutdown"
        self._give_up(None if has_left else restarting())

    def _give_up(self, failure: OqtoError | None) -> None:
        self._end(self._reply, _ignore)
        if failure is not None:
            self._exchange.refuse(failure)
        self._exchange.request.finish()

    def _fail(self, bug: Exception) -> None:
        log.error("a call failed", path=self._exchange.request.path, exc_info=bug)
        if not self._is_over:
            self._give_up(Refused(500, "internal_error", "The proxy failed; see its log."))


def _ignore(_: StoreFailed | None) -> None:
    """Nobody waits for this bill."""
