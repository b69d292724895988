"""
A WebSocket between an agent and a provider: OpenAI's responses and realtime APIs.

Each response is a call of its own: money is set aside when it is asked for, or at the latest when the provider
begins it by itself, and the bill is on disk before the agent gets the event that ends it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from . import admission, once, refusals, transcription
from .dial import LOOPBACK
from .forwarding import headers_for
from .ledger import Bill
from .meter import CHARACTERS_PER_TOKEN, UNREADABLE, Meter
from .meters import ResponsesMeter
from .prices import Tokens
from .realtime import RealtimeMeter
from .refusals import Refused
from .routing import KEY_PROTOCOL, without_key
from .tables import StoreFailed
from .upstream import UpstreamFailed
from .websocket import MESSAGE_LIMIT, WebSocket, sayable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .admission import Choice
    from .exchange import Exchange
    from .keys import Key
    from .routing import Route
    from .wallets import Call

ENDS = ("response.done", "response.completed", "response.incomplete", "response.failed")
POLICY, BROKEN, LEAVING = 1008, 1011, 1001
EXCERPT = 300
CLOSE_S = 1.0


class _Wish(msgspec.Struct):
    model: str | None = None
    max_output_tokens: int | str | None = None


class _Message(_Wish):
    type: str = ""
    response: _Wish | None = None
    session: transcription.Session | None = None
    audio: str | None = None


_read = msgspec.json.Decoder(_Message).decode
_read_once = once.decoder(_Message)


@dataclass(eq=False)
class Turn:
    """A response under way."""

    call: Call
    choice: Choice
    meter: Meter
    prompt: int
    has_begun: bool = False


class Conversation:
    """One WebSocket of an agent, and the provider's behind it."""

    def __init__(self, exchange: Exchange, key: Key, route: Route) -> None:
        self._exchange, self._key, self._route = exchange, key, route
        self._proxy, self._socket = exchange.proxy, WebSocket(exchange.request)
        self._provider: ClientConnection | None = None
        self._choice: Choice | None = None
        self._turn: Turn | None = None
        self._transcriptions = transcription.Transcriptions(
            self._choose, self._open_transcription, self._close_transcription
        )
        self._number = 0
        self._context = 0
        """Tokens of the newest response and what it read: about what the next one reads."""

    async def run(self) -> None:
        """Relay until one side ends it. Raises `Refused` or `UpstreamFailed` before anything is accepted."""
        if self._route.action == "realtime":
            provider = await self._connect(_model_in(self._exchange.request.query))
            chosen = provider.subprotocol or ""
        else:
            chosen = ""
        outcome = "cut"
        try:
            if self._socket.accept(chosen):
                await self._relay()
        except asyncio.CancelledError:
            outcome = "left" if self._exchange.request.has_left else "shutdown"
            self._socket.close(LEAVING, "the proxy is being restarted")
            raise
        finally:
            self._bill(outcome)
            self._transcriptions.end(outcome)
            if self._provider is not None:
                self._provider.transport.abort()

    async def _connect(self, wanted: str) -> ClientConnection:
        self._choice = choice = self._choose(wanted)
        try:
            self._provider = await self._reach(choice)
        except InvalidStatus as exc:
            said = (exc.response.body or b"")[:EXCERPT].decode(errors="replace")
            text = f"The provider refused the WebSocket with status {exc.response.status_code}. {said}"
            raise Refused(exc.response.status_code, "upstream_error", text) from exc
        except (OSError, TimeoutError, WebSocketException) as exc:
            raise UpstreamFailed(f"cannot open a WebSocket to the provider: {exc}", was_sent=False) from exc
        return self._provider

    async def _reach(self, choice: Choice) -> ClientConnection:
        request, provider = self._exchange.request, choice.provider
        url = provider.url(self._route, without_key(request.query))
        offered = request.headers.get(b"sec-websocket-protocol", b"").decode("latin-1").split(",")
        protocols = [name.strip() for name in offered if name.strip() and KEY_PROTOCOL not in name]
        headers = headers_for(request.headers, choice, self._route)
        return await connect(
            f"{url.scheme.replace('http', 'ws')}://{url.authority}{url.path}",
            additional_headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers],
            subprotocols=protocols or None,  # type: ignore[arg-type]
            ssl=self._proxy.pool.context(url),
            proxy=None if url.host in LOOPBACK else True,
            compression=None,
            max_size=MESSAGE_LIMIT,
            user_agent_header=None,
            close_timeout=CLOSE_S,
            open_timeout=provider.timeouts.connect_s,
        )

    def _choose(self, wanted: str) -> Choice:
        return admission.choose(self._key, self._route, wanted, self._proxy.registry, self._proxy.limits)[0]

    async def _relay(self) -> None:
        try:
            if self._provider is None:
                if (first := await self._socket.receive()) is None:
                    return
                await self._to_provider(first)
            await self._both_ways()
        except Refused as exc:
            await self._refuse(exc, POLICY)
        except (UpstreamFailed, StoreFailed) as exc:
            await self._refuse(Refused(502, "upstream_error", exc.detail), BROKEN)
        except ConnectionClosed:
            self._socket.close(BROKEN, "the provider closed the connection")

    async def _both_ways(self) -> None:
        loop = asyncio.get_running_loop()
        ways = {loop.create_task(self._from_provider()), loop.create_task(self._from_agent())}
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    async def _from_agent(self) -> None:
        while (message := await self._socket.receive()) is not None:
            await self._to_provider(message)
        assert self._provider is not None
        await self._provider.close(sayable(self._socket.close_code), self._socket.close_reason)
        self._socket.close(sayable(self._socket.close_code), "")

    async def _to_provider(self, message: str | bytes) -> None:
        # What is not read cannot be checked: it might ask for any model.
        try:
            said = _understood(message, _read_once)
        except once.Twice as exc:
            raise Refused(400, "invalid_request", f"The message names {str(exc)!r} twice.") from exc
        if said is None:
            raise Refused(400, "invalid_request", "A message is no JSON object that this path takes.")
        if self._provider is None:
            await self._connect(said.model or "")
        if self._route.action == "realtime":
            self._note_sound(said)
        if said.type == "response.create":
            asked = message
            message = self._renamed(message, said)
            self._turn = self._turn or await self._open(asked, said)
        assert self._provider is not None
        await self._provider.send(message)

    def _note_sound(self, said: _Message) -> None:
        if said.session is not None:
            self._transcriptions.told(said.session)
        if said.type == "input_audio_buffer.append" and said.audio:
            self._transcriptions.appended(len(said.audio))

    async def _from_provider(self) -> None:
        assert self._provider is not None
        with suppress(ConnectionClosed):
            async for message in self._provider:
                await self._heard(message)
                await self._socket.send(message)
        code, reason = self._provider.close_code, self._provider.close_reason
        self._socket.close(sayable(code or BROKEN), reason or "")

    async def _heard(self, message: str | bytes) -> None:
        event = _understood(message)
        if event is None or isinstance(message, bytes):
            return
        if self._route.action == "realtime":
            self._note_sound(event)
            if "input_audio" in event.type and self._choice is not None:
                await self._transcriptions.heard(message.encode(), self._choice)
        if event.type == "response.created":
            self._turn = self._turn or await self._open(message, event)
            self._turn.has_begun = True
        if event.type in ENDS and self._turn is None:
            self._turn = await self._open(message, event, is_over=True)
        if self._turn is None:
            return
        self._turn.meter.event(message.encode())
        self._stretch(self._turn)
        if event.type in ENDS:
            self._turn.has_begun = True
            await self._bill("done")
        elif event.type == "error" and not self._turn.has_begun:
            await self._bill("refused")

    async def _open(self, message: str | bytes, said: _Message, *, is_over: bool = False) -> Turn:
        wish = said.response or said
        choice = self._choose(said.model) if said.model else self._choice
        assert choice is not None
        most, limit = wish.max_output_tokens, self._proxy.limits.hold_output
        prompt = max(round(len(message) / CHARACTERS_PER_TOKEN) + 1, self._context)
        output = min(most, limit) if isinstance(most, int) and most > 0 else limit
        has_sound = self._route.action == "realtime"
        hold = 0 if is_over else choice.price.hold_nusd(prompt, output, has_sound=has_sound)
        call = await self._open_call(choice, hold, prompt)
        return Turn(call, choice, RealtimeMeter() if has_sound else ResponsesMeter(), prompt)

    async def _open_call(self, choice: Choice, hold: int, prompt: int) -> Call:
        self._number += 1
        identity = f"{self._exchange.id}-{self._number}"
        opening = admission.Opening(identity, self._key, choice, self._route.dialect, hold, prompt)
        call: Call = await self._proxy.till.open(opening)
        call.task = self._exchange.request.task
        return call

    async def _open_transcription(self, choice: Choice, tokens: int) -> Call:
        return await self._open_call(choice, choice.price.hold_nusd(tokens, tokens, has_sound=True), tokens)

    def _close_transcription(
        self, call: Call, choice: Choice, tokens: Tokens, outcome: str, *, is_estimated: bool
    ) -> None:
        bill = Bill(tokens, choice.price.cost_nusd(tokens), outcome, 101, is_estimated)
        self._proxy.till.close(call, bill, keeps_place=False)

    def _stretch(self, turn: Turn) -> None:
        """Set more aside when the response outgrows what is; end it when there is no more."""
        has_sound = self._route.action == "realtime"
        written = turn.meter.written
        if turn.choice.price.hold_nusd(turn.prompt, written, has_sound=has_sound) <= turn.call.hold:
            return
        more = turn.choice.price.hold_nusd(turn.prompt, 2 * written, has_sound=has_sound)
        if not turn.meter.is_final and not self._proxy.till.stretch(turn.call, more):
            text = "The money set aside for this session is used up, so the reply ends here."
            raise Refused(402, "budget_exceeded", text)

    def _renamed(self, message: str | bytes, said: _Message) -> str | bytes:
        """The message with the provider's name of the model. Raises `Refused` for one that may not be used."""
        if said.response is not None and said.response.model:
            self._choose(said.response.model)
        if not said.model or (name := self._choose(said.model).model) == said.model:
            return message
        whole = msgspec.json.decode(message)
        whole["model"] = name
        return msgspec.json.encode(whole).decode()

    def _bill(self, outcome: str) -> asyncio.Future[None]:
        turn, self._turn = self._turn, None
        if turn is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        tokens, is_estimated = (Tokens(), False) if outcome == "refused" else turn.meter.best(turn.prompt)
        self._context = tokens.prompt + tokens.output
        answered, at = turn.meter.model or turn.choice.model, turn.call.started_at
        price = turn.choice.provider.price(answered, turn.meter.tier, at) or turn.choice.price
        bill = Bill(tokens, price.cost_nusd(tokens), outcome, 101, is_estimated)
        closed: asyncio.Future[None] = self._proxy.till.close(turn.call, bill, keeps_place=False)
        return closed

    async def _refuse(self, refused: Refused, code: int) -> None:
        await self._socket.send(refusals.message(refused))
        self._socket.close(code, refused.detail)


def _model_in(query: bytes) -> str:
    named = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("model", [""])
    if len(named) > 1:  # readers differ in which one they take
        raise Refused(400, "invalid_request", "The address names 'model' twice.")
    return named[0]


def _understood(message: str | bytes, read: Callable[[str], _Message] = _read) -> _Message | None:
    try:
        return read(message) if isinstance(message, str) else None
    except UNREADABLE:
        return None
